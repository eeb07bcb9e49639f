"""The exact answer: log Z of per-datum weights by collapse and quadrature, with an error bound."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.model import (
    Collapse,
    FeatureRegression,
    FeatureSummary,
    Latent,
    Problem,
    ProductLatent,
)
from slt_jax.oracles.latents import (
    RESOLUTIONS,
    Curvature,
    LatentRule,
    Resolution,
    coarser,
    latent_rule,
)
from slt_jax.oracles.moments import rule_moments
from slt_jax.precision import in_float64

ROUNDING = 1e-13
SAFETY = 10.0


class Exact(NamedTuple):
    """A number per data set and a bound on its error, both float64 arrays of shape [R] or []."""

    value: np.ndarray
    error: np.ndarray

    def scaled(self, factor: float) -> "Exact":
        """The quantity times a factor."""
        return Exact(factor * self.value, abs(factor) * self.error)

    def minus(self, other: "Exact") -> "Exact":
        """The difference; bounds add."""
        return Exact(self.value - other.value, self.error + other.error)


class ExactMoments(NamedTuple):
    """Exact posterior quantities at one β, in total nats.

    ``normalised_free_energy`` F_n(β) − βnL_n(w₀); ``excess_energy`` E_β[nL_n] − nL_n(w₀);
    ``energy_variance`` Var_β[nL_n].
    """

    normalised_free_energy: Exact
    excess_energy: Exact
    energy_variance: Exact


class Oracle(NamedTuple):
    """Exact evidence of a problem whose model declares its structure; see ``oracle_for``.

    The value comes from a rule at ``level`` and the error bound from one of lower order on the
    same panels: errors fall geometrically with the order, so ten times the difference bounds
    the error of the finer also where the difference happens to be small. The largest over the
    data sets of a call is taken, and the rounding of the n-sized terms that cancel is added.
    """

    problem: Problem
    model: FeatureRegression
    collapse: Collapse
    level: int

    @in_float64
    def log_evidence(self, summary: FeatureSummary) -> Exact:
        """log Z(a) − Σ a_i ℓ_i(w₀) of weighted data, in total nats.

        ``summary`` holds the weighted sufficient statistics of one data set, or of R on a leading
        axis. Add ``summary.reference`` for log Z(a) itself. Raises ValueError for NaN or infinite
        statistics.
        """
        exact = self.moments(summary).normalised_free_energy
        return Exact(-exact.value, exact.error)

    @in_float64
    def moments(self, summary: FeatureSummary, beta: float = 1.0) -> ExactMoments:
        """F_n(β), E_β[nL_n] and Var_β[nL_n] of one data set or of R, relative to w₀.

        Raises ValueError for β < 0 or not finite, and for statistics that are not finite.
        """
        if not (np.isfinite(beta) and beta >= 0):
            raise ValueError(f"beta = {beta}: must be finite and ≥ 0")
        summary = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), summary)
        if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in summary):
            raise ValueError("the data summary holds NaN or infinite statistics")
        if summary.gram.ndim == 2:
            return self._of_one(summary, beta)
        resolution = RESOLUTIONS[self.level]
        fine, coarse = (
            rule_moments(self.collapse, self.model, summary, beta, self._rule(summary, beta, r))
            for r in (resolution, coarser(resolution))
        )
        cancelled = 1.0 + beta * np.asarray(_cancelling_size(self.model, summary))
        difference = SAFETY * np.max(np.abs(fine - coarse), axis=0)
        return ExactMoments(
            *(Exact(fine[:, q], difference[q] + ROUNDING * cancelled) for q in range(3))
        )

    def _of_one(self, summary: FeatureSummary, beta: float) -> ExactMoments:
        batch = self.moments(jax.tree.map(lambda leaf: leaf[None], summary), beta)
        return ExactMoments(*(Exact(value[0], error[0]) for value, error in batch))

    def _rule(self, summary: FeatureSummary, beta: float, resolution: Resolution) -> LatentRule:
        """The rule for the replicates' mean curvature, in steps of 2 % so that rules are reused."""
        latent = self.collapse.latent
        gram = beta * (self.collapse.scale / self.model.noise) ** 2
        gram = gram * np.mean(np.asarray(summary.gram), axis=0)
        targets = np.zeros(0)
        alone, adapted = np.array([np.trace(gram)]), np.zeros(0)
        if isinstance(latent, ProductLatent):
            last = slice(-len(latent.exponents), None)
            targets = np.abs(np.asarray(summary.origin))[0, last, 0] / self.collapse.scale
            with_prior = gram + np.eye(len(gram))
            alone = np.diag(with_prior)[last]
            adapted = 1 / np.diag(np.linalg.inv(with_prior))[last]
        curvature = Curvature(_in_steps(alone), _in_steps(adapted))
        return _cached_rule(latent, curvature, tuple(targets.tolist()), resolution)


def _in_steps(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.exp(0.02 * np.round(np.log(values + 1e-3) / 0.02)).tolist())


@functools.lru_cache(maxsize=64)
def _cached_rule(
    latent: Latent, curvature: Curvature, targets: tuple[float, ...], resolution: Resolution
) -> LatentRule:
    return latent_rule(latent, curvature, targets, resolution)


def _cancelling_size(model: FeatureRegression, summary: FeatureSummary) -> Array:
    """Size of the terms in a collapsed log density that cancel, total nats, shape [R]."""
    signal = jnp.einsum("rpq,rpo,roq->r", summary.origin, summary.gram, summary.origin)
    return (signal + jnp.einsum("rpq,rpq->r", summary.origin, jnp.abs(summary.cross))) / (
        model.noise**2
    )


def oracle_for(problem: Problem, level: int = 2) -> Oracle | None:
    """The oracle of a problem, or None if its model declares no exact structure.

    Raises ValueError for a level outside 1 … 3.
    """
    if level not in RESOLUTIONS:
        raise ValueError(f"level = {level}: must be 1 to {max(RESOLUTIONS)}")
    collapse = problem.model.exact(problem.optimum)
    if collapse is None or not isinstance(problem.model, FeatureRegression):
        return None
    return Oracle(problem, problem.model, collapse, level)
