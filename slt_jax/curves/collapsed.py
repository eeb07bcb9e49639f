"""Free energies sampled in fewer dimensions: a Gaussian block of weights is integrated out."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.curves.jobs import convergence, in_precision, refuse_divergence, smc_jobs
from slt_jax.estimators import free_energy_from_evidence
from slt_jax.model import FeatureRegression
from slt_jax.oracles.block import log_block_evidence
from slt_jax.oracles.laws.none import NoLatent
from slt_jax.oracles.structures import Collapse, LinearBlock, Structure
from slt_jax.problem import Problem
from slt_jax.run.executables import identity_of
from slt_jax.samplers.smc import FIRST_STEP_SIZE, SMCSettings
from slt_jax.samplers.target import Target
from slt_jax.statistics import Statistics

if TYPE_CHECKING:
    import xarray as xr


@functools.lru_cache(maxsize=128)
def collapsed_target(model: Any, block: str) -> Target:
    """Return the density of all parameters but those called ``block``, given which it is linear.

    The prior of all parameters is N(0, prior_scale²), and the model is a regression with ``basis``
    or with ``design_sums`` of a flat vector of the others, which an oracle asks for too. The block
    then needs no sampling: its ridges, along which output weights and input weights trade, are
    gone. The data of the target are statistics and ``present`` [k], 1 for rows of the block that
    there are and 0 for others, which are as if the model had fewer units: nets of all widths share
    one program. Cached, so that equal models are one constant to compiled samplers. Raises
    ValueError for a block that is no parameter of the model.
    """
    shapes = {name: prior.shape() for name, prior in model.priors().items()}
    if block not in shapes:
        raise ValueError(f"block = {block!r}: must be one of {', '.join(shapes)}")
    scale = float(model.prior_scale)
    dimension = sum(int(np.prod(shape)) for name, shape in shapes.items() if name != block)
    structure: Structure[Any] = (
        Collapse(NoLatent(), scale)
        if isinstance(model, FeatureRegression)
        else LinearBlock(NoLatent(), scale, has_sums=True)
    )

    def sample_prior(key: Array) -> Array:
        return scale * jax.random.normal(key, (dimension,))

    def log_prior(w: Array) -> Array:
        return -0.5 * jnp.sum(w**2) / scale**2

    def log_likelihood(w: Array, data: tuple[Any, Array]) -> Array:
        statistics, present = data
        with jax.default_matmul_precision("highest"):
            block = structure.node_statistics(model, w, statistics)
        reduced = block._replace(
            precision=present[:, None] * block.precision * present,
            score=present[:, None] * block.score,
        )
        return log_block_evidence(reduced, jnp.ones((), w.dtype))

    known = identity_of(model)
    identity = f"collapsed {block} of {known}" if known else ""
    return Target(sample_prior, log_prior, log_likelihood, identity)


def collapsed_free_energies(
    problem: Problem,
    n: int,
    all_statistics: Statistics,
    keys: Array,
    settings: SMCSettings,
    block: str,
    present: np.ndarray,
    budget: int | None = None,
) -> xr.Dataset:
    """Sample F_n − nL_n(w₀) of R data sets by SMC on ``collapsed_target``, in float64.

    ``keys`` are those of ``batch_keys`` [R, S], and ``present`` is that of the target.
    ``normalised_free_energy`` [replicate] comes with ``…_se``, its Monte-Carlo standard error over
    the S runs, and the diagnostics of ``sampled_jobs``. The quadratic forms of the block cancel to
    few nats, which float32 does not hold. What is left of a linear net whose true rank is below its
    width mixes badly: F_n came out 1.3 to 1.8 nats too high at n = 10⁴, most runs judged converged,
    so that such nets need an oracle. Raises ValueError if no move of the first temperature is
    accepted.
    """
    import xarray as xr

    with jax.enable_x64(True):
        runs, _ = smc_jobs(
            collapsed_target(problem.model, block),
            settings,
            jnp.asarray(FIRST_STEP_SIZE, float),
            np.asarray(jax.random.key_data(keys)),
            (in_precision(all_statistics, float), np.tile(present, (len(keys), 1))),
            np.ones((len(keys), 1)),
            budget=budget,
        )
    runs = jax.tree.map(lambda leaf: np.asarray(leaf, float), runs)
    refuse_divergence(problem, n, runs, FIRST_STEP_SIZE)
    estimate = free_energy_from_evidence(runs.log_evidence)
    variables: dict[str, Any] = {
        "normalised_free_energy": ("replicate", estimate.value),
        "normalised_free_energy_se": ("replicate", estimate.standard_error),
    }
    variables |= convergence(runs, (0,), all_statistics.log_likelihood_at_optimum)
    return xr.Dataset(variables)
