"""Exact free energy and local learning coefficients of Skalse's polynomial for six truths.

A truth is one of the functions 0, 1, x, …, x⁴. Vectors of coefficients are in the order of the
model's features, (x⁴, x³, x², x, 1).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import fixed_design_statistics, statistics_along_n
from slt_jax.estimators import mean_over_seeds
from slt_jax.models import named_problems
from slt_jax.models.skalse import SkalsePolynomial
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.oracle import Oracle, oracle_for
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.sgld import SGLDSettings, sgld
from slt_jax.statistics import RegressionStatistics

from . import Config
from .factorised import Block, expected_free_energy, factorised_moments

FACTORS = SkalsePolynomial.factors
FUNCTIONS = ("1", "x", "x^2", "x^3", "x^4")
TRUTHS = ("0", *FUNCTIONS)
# Beyond, the oracle's cells in five dimensions do not settle, and it refuses.
MAX_CHECKED_SIZE = 10**11


def targets(truth: str) -> tuple[float, ...]:
    """Return the true coefficients of x⁴, x³, x², x and 1."""
    return tuple(float(truth == function) for function in FUNCTIONS[::-1])


def gram() -> np.ndarray:
    """Return G = E φφᵀ of (x⁴, x³, x², x, 1) under x ~ U[−1, 1], shape [5, 5]."""
    degrees = np.arange(4, -1, -1)
    total = np.add.outer(degrees, degrees)
    return np.where(total % 2 == 0, 1 / (total + 1.0), 0.0)


def problem_name(truth: str) -> str:
    """Return the name of the problem with this truth."""
    return f"skalse_{truth.replace('^', '')}"


def free_energies(config: Config, key: Array) -> xr.Dataset:
    """Compute F_n − nL_n(w₀) of the six truths in total nats, exactly, by three designs.

    ``normalised_free_energy`` [truth, n, replicate] is of data sets that differ between truths by
    the truth alone, and ``fixed_design_normalised_free_energy`` [truth, large_n, replicate] of
    those of ``fixed_design_statistics``. ``product_normalised_free_energy`` and
    ``power_normalised_free_energy`` [truth, large_n] are expectations over data sets on orthonormal
    features, where coefficient k is a product of j_k parameters or the j_k-th power of one.
    ``_error`` are error bounds. ``route_gap`` [truth, large_n] is the difference between the
    oracle and the one-dimensional integrals on the orthonormal design, and ``route_bound`` what
    their bounds allow; both are NaN above MAX_CHECKED_SIZE.
    """
    problem = named_problems()[problem_name("0")]
    oracle = oracle_for(problem, config.oracle_refinement)
    assert isinstance(oracle, Oracle)
    data_key, design_key = jax.random.split(key)
    simulated = statistics_along_n(problem, data_key, config.data_sets, config.sample_sizes)
    fixed = fixed_design_statistics(problem, design_key, config.data_sets, config.large_sizes)
    noise = np.asarray(jax.random.normal(design_key, (config.data_sets, len(FACTORS))), float)
    checked = [n for n in config.large_sizes if n <= MAX_CHECKED_SIZE]
    orthonormal = [orthonormal_statistics(n, noise) for n in checked]

    def by_oracle(along_n: list[Any], truth: str) -> list[Exact]:
        return [oracle.log_evidence(of_truth(s, truth)).scaled(-1) for s in along_n]

    def expected(blocks: list[Block]) -> list[Exact]:
        return [expected_free_energy(blocks, n) for n in config.large_sizes]

    def between_routes(truth: str) -> list[Exact]:
        integrals = (factorised_moments(products(truth), n, noise) for n in checked)
        pairs = zip(by_oracle(orthonormal, truth), integrals, strict=True)
        return [exact.minus(moments.normalised_free_energy) for exact, moments in pairs]

    name, on_design = "normalised_free_energy", ("truth", "large_n", "replicate")
    variables = {
        **_curves(name, ("truth", "n", "replicate"), [by_oracle(simulated, t) for t in TRUTHS]),
        **_curves(f"fixed_design_{name}", on_design, [by_oracle(fixed, t) for t in TRUTHS]),
        **_curves(f"product_{name}", on_design[:2], [expected(products(t)) for t in TRUTHS]),
        **_curves(f"power_{name}", on_design[:2], [expected(powers(t)) for t in TRUTHS]),
    }
    routes = np.full((2, len(TRUTHS), len(config.large_sizes)), np.nan)
    for i, truth in enumerate(TRUTHS):
        for j, gap in enumerate(between_routes(truth)):
            routes[:, i, j] = np.max(np.abs(gap.value)), np.max(gap.error)
    variables |= dict(
        zip(("route_gap", "route_bound"), ((on_design[:2], r) for r in routes), strict=True)
    )
    coords = {"truth": list(TRUTHS), "n": list(config.sample_sizes)}
    return xr.Dataset(variables, coords=coords | {"large_n": list(config.large_sizes)})


def _curves(
    name: str, axes: tuple[str, ...], rows: list[list[Exact]]
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Return values and error bounds as two variables of a dataset."""
    values, errors = (
        np.stack([np.stack([exact[i] for exact in row]) for row in rows]) for i in (0, 1)
    )
    return {name: (axes, values), f"{name}_error": (axes, errors)}


def products(truth: str) -> list[Block]:
    """Return the coefficients as products of their factors, in the order of the features."""
    return [Block((1,) * j, c) for j, c in zip(FACTORS, targets(truth), strict=True)]


def powers(truth: str) -> list[Block]:
    """Return the variant in which coefficient k is the j_k-th power of one parameter."""
    return [Block((j,), c) for j, c in zip(FACTORS, targets(truth), strict=True)]


def localised(truth: str, gamma: float) -> list[Block]:
    """Return the products with the prior exp(−(γ/2)‖w − w*‖²) about the natural parameter."""
    scale = 1 / math.sqrt(gamma)
    return [Block((1,) * j, c, c, scale) for j, c in zip(FACTORS, targets(truth), strict=True)]


def of_truth(statistics: Any, truth: str) -> RegressionStatistics:
    """Return the statistics that the same inputs and noise have under another truth."""
    optimum: Any = np.broadcast_to(np.array(targets(truth))[:, None], np.shape(statistics.optimum))
    return statistics._replace(optimum=optimum)


def orthonormal_statistics(n: float, noise: np.ndarray) -> RegressionStatistics:
    """Return statistics of R data sets of truth 0 with Σφφᵀ = nI, from standard noise [R, 5]."""
    squares: Any = np.tile(n * np.eye(len(FACTORS)), (len(noise), 1, 1))
    cross: Any = math.sqrt(n) * noise[:, :, None]
    log_likelihood_at_optimum: Any = np.zeros(len(noise))
    return RegressionStatistics(squares, cross, 0 * cross, log_likelihood_at_optimum)


def local_coefficients(config: Config, key: Array, truth: str) -> xr.Dataset:
    """Compute λ̂(w*) at the natural parameter: factors of the true coefficient 1, the others 0.

    ``local_learning_coefficient`` [gamma], with its standard error ``_se`` over chains, is by SGLD
    at n = ``local_size`` and β = 1/log n on one orthonormal data set, and
    ``exact_local_learning_coefficient`` [gamma] of the same density.
    ``large_n_local_learning_coefficient`` [gamma, large_n] is exact, without noise in the data.
    ``sgld_acceptance`` [gamma] is what MALA would accept of SGLD's steps.
    """
    problem, n = named_problems()[problem_name(truth)], config.local_size
    xi = np.asarray(jax.random.normal(key, (1, len(FACTORS))), float)
    all_statistics = of_truth(orthonormal_statistics(n, xi), truth)
    statistics = jax.tree.map(lambda leaf: leaf[0], all_statistics)
    statistics = in_precision(statistics, jnp.zeros(()).dtype)
    centre = jnp.asarray(problem.optimum["theta"], float)
    beta = 1 / math.log(n)
    thinning, num_draws = config.local_thinning, config.local_draws
    settings = SGLDSettings(
        num_warmup=thinning * num_draws // 2, num_draws=num_draws, thinning=thinning
    )
    sampled, acceptance, exact, large = [], [], [], []
    for gamma in config.gammas:
        run = sgld_run(
            target_of(problem.model), settings, key, statistics, beta, gamma, centre,
            config.step_size, jnp.tile(centre, (config.local_chains, 1)),
        )  # fmt: skip
        energies = np.asarray(run.energies, float).mean(axis=1)
        sampled.append(mean_over_seeds(energies).scaled(beta))
        acceptance.append(float(jnp.mean(run.acceptance)))
        exact.append(beta * excess_energy(truth, gamma, n, xi))
        large.append(
            [excess_energy(truth, gamma, m, 0 * xi) / math.log(m) for m in config.large_sizes]
        )
    return xr.Dataset(
        {
            "local_learning_coefficient": ("gamma", [float(e.value) for e in sampled]),
            "local_learning_coefficient_se": ("gamma", [float(e.standard_error) for e in sampled]),
            "exact_local_learning_coefficient": ("gamma", exact),
            "large_n_local_learning_coefficient": (("gamma", "large_n"), large),
            "sgld_acceptance": ("gamma", acceptance),
            "local_size": n,
        },
        coords={"gamma": list(config.gammas), "large_n": list(config.large_sizes)},
    )


def excess_energy(truth: str, gamma: float, n: float, noise: np.ndarray) -> float:
    """Compute E[nL_n − nL_n(w₀)] at β = 1/log n under the localised prior, from noise [1, 5]."""
    moments = factorised_moments(localised(truth, gamma), n, noise, 1 / math.log(n))
    return float(moments.excess_energy.value[0])


sgld_run = jit_at_first_call(sgld, static_argnums=(0, 1))
