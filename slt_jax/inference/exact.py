"""The exact posterior of a problem's data in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike

from slt_jax.curves.predictions import terms_at_optimum
from slt_jax.curves.reference import with_reference
from slt_jax.data import in_doubles, statistics_of
from slt_jax.inference.arguments import (
    checked_data_sets,
    checked_held_out,
    checked_problem,
)
from slt_jax.inference.posterior import Posterior, shifted
from slt_jax.inference.prediction import predicted_by_densities
from slt_jax.model import Model
from slt_jax.oracles.criteria import (
    GeneralisationErrors,
    HeldOut,
    TrainingCriteria,
    generalisation_errors,
    pointwise_moments,
    training_criteria,
)
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.oracle import ExactMoments, Oracle, oracle_for
from slt_jax.problem import Problem
from slt_jax.statistics import Data
from slt_jax.validation import Positive, checked

if TYPE_CHECKING:
    import xarray as xr


@overload
def exact(
    problem: Problem | Model,
    data: Data,
    beta: float = 1.0,
    *,
    held_out: Data | HeldOut | None = None,
) -> ExactPosterior: ...


@overload
def exact(
    problem: Problem | Model,
    data: Sequence[Data],
    beta: float = 1.0,
    *,
    held_out: Data | HeldOut | None = None,
) -> list[ExactPosterior]: ...


def exact(
    problem: Problem | Model,
    data: Data | Sequence[Data],
    beta: float = 1.0,
    *,
    held_out: Data | HeldOut | None = None,
) -> ExactPosterior | list[ExactPosterior]:
    """Return the posterior of a problem's data at β, with its quantities computed exactly.

    A model stands for the problem of which nothing else is known: λ̂ is then relative to the
    posterior mode of the data that ``with_reference`` finds.
    ``free_energy`` and all other names of ``Posterior`` are ``Exact``: a value and a bound on its
    error. ``held_out`` are data over which generalisation losses are averaged; without them
    they are expectations over the truth of the problem. A list of data sets of one size has a list
    of posteriors. Raises ValueError for a problem whose model declares no exact structure, for data
    that ``validate_data`` refuses or that are none, and unless β is positive and finite.

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["linear_3"]
    >>> posterior = slt.exact(problem, slt.simulate(problem, jax.random.key(0), n=100))
    >>> f"F_n = {posterior.free_energy.value:.3f}, WAIC = {posterior.waic.value:.4f}"
    'F_n = 144.676, WAIC = 1.4041'
    """
    problem, beta = checked_problem(problem, data), checked("beta", beta, Positive)
    data_sets = checked_data_sets(problem, data)
    points = checked_held_out(problem, held_out)
    posteriors = [_of_data(with_reference(problem, one), one, beta, points) for one in data_sets]
    return posteriors[0] if isinstance(data, Data) else posteriors


def _of_data(problem: Problem, data: Data, beta: float, points: HeldOut | None) -> ExactPosterior:
    oracle = oracle_for(problem, costly=True)
    if oracle is None:
        raise ValueError(f"problem = {problem.name}: has no exact answer; sample it instead")
    return ExactPosterior(
        problem=problem,
        data=data,
        statistics=statistics_of(problem, data),
        beta=beta,
        held_out=points,
        oracle=oracle,
    )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class ExactPosterior(Posterior[Exact]):
    """A posterior whose quantities are exact, each with a bound on its error; see ``exact``."""

    oracle: Oracle

    @property
    def normalised_free_energy(self) -> Exact:
        return self._moments.normalised_free_energy

    @property
    def bayes_training_loss(self) -> Exact:
        return self._criteria.bayes_training_loss

    @property
    def gibbs_training_loss(self) -> Exact:
        return self._criteria.gibbs_training_loss

    @property
    def functional_variance(self) -> Exact:
        return self._criteria.functional_variance

    @property
    def waic(self) -> Exact:
        return self._criteria.waic

    @property
    def leave_one_out_loss(self) -> Exact:
        return self._criteria.loo

    @property
    def bayes_generalisation_loss(self) -> Exact:
        return shifted(self._errors.bayes_generalisation_error, self._held_out_loss)

    @property
    def gibbs_generalisation_loss(self) -> Exact:
        return shifted(self._errors.gibbs_generalisation_error, self._held_out_loss)

    @property
    def reason(self) -> str:
        return ""

    def log_predictive_density(self, points: Data) -> Exact:
        known = in_doubles(self.problem, points, "points", least=1)
        relative = pointwise_moments(self.oracle, self.data, known, self.beta).log_predictive
        return relative.shifted(terms_at_optimum(self.problem, known))

    def predict(self, x: ArrayLike, coverage: float = 0.95) -> xr.Dataset:
        def density(points: Data) -> np.ndarray:
            return np.exp(self.log_predictive_density(points).value)

        return predicted_by_densities(self.problem, density, self.data, x, coverage)

    @cached_property
    def _moments(self) -> ExactMoments:
        return self.oracle.moments(self.statistics, self.beta)

    @cached_property
    def _criteria(self) -> TrainingCriteria:
        return training_criteria(self.oracle, self.data, self.beta)

    @cached_property
    def _normalised_wbic(self) -> Exact:
        return self.oracle.moments(self.statistics, self.wbic_beta).excess_energy

    @cached_property
    def _errors(self) -> GeneralisationErrors:
        return generalisation_errors(self.oracle, self.data, self.points, self.beta)

    @cached_property
    def _held_out_loss(self) -> float:
        """The average of −log p(z|w₀) over the points, to which errors are relative."""
        weights: Any = self.points.weights
        points = statistics_of(self.problem, self.points.data, weights)
        return -float(points.log_likelihood_at_optimum)

    @property
    def _oracle(self) -> Oracle:
        return self.oracle

    @property
    def _sampled_energies(self) -> None:
        return None

    @property
    def _marginals(self) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
        return {}

    @property
    def method(self) -> str:
        return "exact"

    @property
    def _name_of_error(self) -> str:
        return "error bound"
