"""Posteriors whose quantities have the same names, whether they are exact or sampled."""

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from jax import Array

from slt_jax.curves.error_curve import held_out_points, points_to_sample
from slt_jax.curves.jobs import temperature_nodes, unravelled
from slt_jax.curves.posterior_runs import (
    FreeEnergy,
    Runs,
    Sampling,
    ladder_free_energy,
    predictive_moments,
    relative_to,
    sampled_runs,
    terms_at_optimum,
    with_step_bias,
)
from slt_jax.curves.reference import STARTS
from slt_jax.data import statistics_of
from slt_jax.estimators import (
    Basis,
    Estimate,
    LossMoments,
    bayes_generalisation_loss,
    bayes_training_loss,
    functional_variance,
    gibbs_generalisation_loss,
    leave_one_out_loss,
    waic,
)
from slt_jax.estimators.estimate import Reference
from slt_jax.oracles.criteria import (
    GeneralisationErrors,
    HeldOut,
    TrainingCriteria,
    generalisation_errors,
    training_criteria,
)
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.oracle import ExactMoments, Oracle
from slt_jax.problem import Problem
from slt_jax.statistics import Data, Statistics

Quantity = TypeVar("Quantity", Exact, Estimate)

UNITS = {
    "free_energy": "nats",
    "normalised_free_energy": "nats",
    "wbic": "nats",
    "learning_coefficient": "",
    "bayes_training_loss": "nats per datum",
    "gibbs_training_loss": "nats per datum",
    "functional_variance": "nats squared",
    "waic": "nats per datum",
    "leave_one_out_loss": "nats per datum",
    "bayes_generalisation_loss": "nats per datum",
    "gibbs_generalisation_loss": "nats per datum",
}
"""The quantities of every posterior, and their units."""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Posterior(abc.ABC, Generic[Quantity]):
    """The posterior ∝ φ(w) exp(−βnL_n(w)) of a problem, one data set and one β.

    Each quantity is a value with a bound on its error, or with a standard error by source, and
    is computed when it is first asked for. w₀ is the optimum that the problem names, or else the
    ``reference`` that was found.
    """

    problem: Problem
    data: Data
    statistics: Statistics
    beta: float
    held_out: HeldOut | None

    @property
    def n(self) -> int:
        """The number of data."""
        return len(self.data.y)

    @property
    def reference(self) -> str:
        """The point w₀ that λ̂ and normalised quantities are relative to, in words."""
        if self.problem.optimum_is_fitted:
            return f"the best posterior mode of {STARTS} starts"
        return "the optimum of the problem"

    @property
    def energy_at_optimum(self) -> float:
        """nL_n(w₀), total nats."""
        return -float(self.statistics.log_likelihood_at_optimum)

    @property
    @abc.abstractmethod
    def normalised_free_energy(self) -> Quantity:
        """F_n(β) − βnL_n(w₀), total nats."""

    @property
    def free_energy(self) -> Quantity:
        """F_n(β) = −log ∫ φ(w) exp(−βnL_n(w)) dw, total nats."""
        return _shifted(self.normalised_free_energy, self.beta * self.energy_at_optimum)

    @property
    def wbic(self) -> Quantity:
        """WBIC = E_w[nL_n] at 1/log n, whatever β is, in total nats.

        Raises ValueError for n < 3, where 1/log n would exceed 1.
        """
        return _shifted(self._normalised_wbic, self.energy_at_optimum)

    @property
    def learning_coefficient(self) -> Quantity:
        """λ̂ = (WBIC − nL_n(w₀))/log n, whatever β is. Raises ValueError for n < 3."""
        return self._normalised_wbic.scaled(self._wbic_beta)

    @property
    @abc.abstractmethod
    def bayes_training_loss(self) -> Quantity:
        """T_n = −(1/n) Σ log E_w[p(z_i|w)], per datum."""

    @property
    @abc.abstractmethod
    def gibbs_training_loss(self) -> Quantity:
        """E_w[L_n(w)], per datum."""

    @property
    @abc.abstractmethod
    def functional_variance(self) -> Quantity:
        """V_n = Σ Var_w[ℓ_i], a sum over the data."""

    @property
    @abc.abstractmethod
    def waic(self) -> Quantity:
        """WAIC = T_n + (β/n)V_n, per datum."""

    @property
    @abc.abstractmethod
    def leave_one_out_loss(self) -> Quantity:
        """−(1/n) Σ log E_w[p(z_i|w)] with datum i left out of the posterior, per datum."""

    @property
    @abc.abstractmethod
    def bayes_generalisation_loss(self) -> Quantity:
        """G_n = −E_z log E_w[p(z|w)], per datum.

        The expectation is that of the truth by quadrature, or the average over ``held_out`` data.
        An estimate takes simulated data, whose error counts, where the truth has no quadrature.
        Raises ValueError where there are neither.
        """

    @property
    @abc.abstractmethod
    def gibbs_generalisation_loss(self) -> Quantity:
        """E_w[L(w)], per datum, with the expectation of ``bayes_generalisation_loss``."""

    @property
    @abc.abstractmethod
    def reason(self) -> str:
        """Say what has not converged of all that was computed so far; empty if nothing."""

    @property
    def converged(self) -> bool:
        """True if nothing that was computed so far speaks against its numbers."""
        return self.reason == ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.problem.name}, n={self.n}, beta={self.beta:g})"

    def summary(self) -> str:
        """Tabulate all quantities with their errors as plain text, and say if they converged.

        Quantities that the problem or n does not allow have a line instead that says why.
        """
        rows: list[str] = [_row("quantity", "value", self._name_of_error, "unit")]
        refused: list[str] = []
        for name, unit in UNITS.items():
            try:
                value, error = getattr(self, name)[:2]
            except ValueError as refusal:
                refused.append(f"no {name}: {refusal}")
            else:
                rows.append(_row(name, *_digits(float(value), float(error)), unit))
        title = f"{self.problem.name}: n = {self.n}, beta = {self.beta:g}, {self._method}"
        verdict = "converged" if self.converged else f"not converged: {self.reason}"
        reference = f"w0, which the learning coefficient is relative to: {self.reference}"
        return "\n".join([title, *rows, *refused, reference, verdict])

    @property
    @abc.abstractmethod
    def _normalised_wbic(self) -> Quantity: ...

    @property
    @abc.abstractmethod
    def _method(self) -> str: ...

    @property
    @abc.abstractmethod
    def _name_of_error(self) -> str: ...

    @property
    def _reference(self) -> Reference:
        return "mode" if self.problem.optimum_is_fitted else "w0"

    @property
    def _wbic_beta(self) -> float:
        return temperature_nodes(self.n).wbic

    @property
    def _points(self) -> HeldOut:
        if self.held_out is not None:
            return self.held_out
        if not self.problem.has_truth:
            raise ValueError("no truth is known: give held_out data")
        return held_out_points(self.problem)


def _shifted(quantity: Quantity, constant: float) -> Quantity:
    return quantity._replace(value=quantity.value + constant)


def _row(name: str, value: str, error: str, unit: str) -> str:
    return f"{name:<26}{value:>16}{error:>16}  {unit}".rstrip()


def _digits(value: float, error: float) -> tuple[str, str]:
    """A value to the second digit of its error, and the error."""
    if not math.isfinite(error):
        return f"{value:.6g}", f"{error:g}"
    decimals = 8 if error == 0 else min(max(1 - math.floor(math.log10(error)), 0), 8)
    return f"{value:.{decimals}f}", f"{error:.1e}" if error < 1e-8 else f"{error:.{decimals}f}"


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
        return _shifted(self._errors.bayes_generalisation_error, self._held_out_loss)

    @property
    def gibbs_generalisation_loss(self) -> Exact:
        return _shifted(self._errors.gibbs_generalisation_error, self._held_out_loss)

    @property
    def reason(self) -> str:
        return ""

    @cached_property
    def _moments(self) -> ExactMoments:
        return self.oracle.moments(self.statistics, self.beta)

    @cached_property
    def _criteria(self) -> TrainingCriteria:
        return training_criteria(self.oracle, self.data, self.beta)

    @cached_property
    def _normalised_wbic(self) -> Exact:
        return self.oracle.moments(self.statistics, self._wbic_beta).excess_energy

    @cached_property
    def _errors(self) -> GeneralisationErrors:
        return generalisation_errors(self.oracle, self.data, self._points, self.beta)

    @cached_property
    def _held_out_loss(self) -> float:
        """The average of −log p(z|w₀) over the points, to which errors are relative."""
        weights: Any = self._points.weights
        points = statistics_of(self.problem, self._points.data, weights)
        return -float(points.log_likelihood_at_optimum)

    @property
    def _method(self) -> str:
        return "exact"

    @property
    def _name_of_error(self) -> str:
        return "error bound"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SampledPosterior(Posterior[Estimate]):
    """A posterior whose quantities are estimates with standard errors; see ``sample``."""

    sampling: Sampling
    key: Array
    runs: Runs

    @property
    def normalised_free_energy(self) -> Estimate:
        evidence = self.runs.evidence
        found = self._ladder.estimate if evidence is None else evidence
        return found._replace(basis=Basis(self.n, self.beta, self._reference))

    @property
    def bayes_training_loss(self) -> Estimate:
        return _from_moments(partial(bayes_training_loss, reference=None), self._moments)

    @property
    def gibbs_training_loss(self) -> Estimate:
        loss = self.runs.excess_energy.scaled(1 / self.n)
        return _shifted(loss, self.energy_at_optimum / self.n)._replace(
            basis=Basis(self.n, self.beta)
        )

    @property
    def functional_variance(self) -> Estimate:
        return _from_moments(functional_variance, self._moments)

    @property
    def waic(self) -> Estimate:
        return _from_moments(partial(waic, reference=None), self._moments)

    @property
    def leave_one_out_loss(self) -> Estimate:
        return _from_moments(partial(leave_one_out_loss, reference=None), self._moments)

    @property
    def bayes_generalisation_loss(self) -> Estimate:
        return self._over_points(bayes_generalisation_loss)

    @property
    def gibbs_generalisation_loss(self) -> Estimate:
        return self._over_points(gibbs_generalisation_loss)

    @property
    def draws(self) -> Mapping[str, np.ndarray]:
        """Draws of each parameter at β, [run, draw, ...]; draws of one run are of its chains.

        ``slt_jax.report.export.draws_tree`` takes them to ArviZ.
        """
        unravel = partial(unravelled, self.problem.model)
        of_each: Any = jax.vmap(jax.vmap(unravel))
        return {name: np.asarray(part) for name, part in of_each(self.runs.positions).items()}

    @property
    def reason(self) -> str:
        reasons = [self.runs.reason] if self.runs.reason else []
        for name, title in (("_ladder", "free energy"), ("_at_wbic", "WBIC")):
            if name in vars(self) and getattr(self, name).reason:
                reasons.append(f"{title}: {getattr(self, name).reason}")
        return "; ".join(reasons)

    @cached_property
    def _ladder(self) -> FreeEnergy:
        return ladder_free_energy(self.sampling, jax.random.fold_in(self.key, 2), self.beta)

    @cached_property
    def _at_wbic(self) -> Runs:
        return sampled_runs(self.sampling, jax.random.fold_in(self.key, 1), self._wbic_beta)

    @property
    def _normalised_wbic(self) -> Estimate:
        basis = Basis(self.n, self._wbic_beta, self._reference)
        return self._at_wbic.excess_energy._replace(basis=basis)

    @cached_property
    def _moments(self) -> tuple[LossMoments, ...]:
        return self._moments_of(self.data)

    @cached_property
    def _moments_of_points(self) -> tuple[LossMoments, ...]:
        points = jax.tree.map(lambda part: np.asarray(part)[self._chosen], self._points.data)
        return self._moments_of(points, held_out=True)

    @property
    def _points(self) -> HeldOut:
        known = self.held_out is None and self.problem.has_truth
        return points_to_sample(self.problem) if known else super()._points

    @property
    def _chosen(self) -> np.ndarray:
        """The points that have a weight: those of the coarser rule have none."""
        return self._points.weights != 0

    def _moments_of(self, data: Data, held_out: bool = False) -> tuple[LossMoments, ...]:
        """Moments of the draws, and of those with twice the step where there are any."""
        runs = (self.runs.positions, self.runs.coarse_positions)
        return tuple(
            predictive_moments(self.problem, data, positions, self.beta, held_out)
            for positions in runs
            if positions is not None
        )

    def _over_points(self, estimator: Callable[..., Estimate]) -> Estimate:
        is_sample = self._points.check is None
        weights = None if is_sample else self._points.weights[self._chosen]
        over_points = partial(estimator, reference=None, weights=weights)
        known = self.problem.optimal_loss
        if not is_sample or self.held_out is not None or known is None:
            return _from_moments(over_points, self._moments_of_points)
        # The error of simulated data is far smaller relative to w₀, whose loss is known.
        at_optimum = terms_at_optimum(self.problem, self._points.data)
        errors = tuple(relative_to(at_optimum, each) for each in self._moments_of_points)
        return _shifted(_from_moments(over_points, errors), known)

    @property
    def _method(self) -> str:
        return f"{self.sampling.seeds} runs of {self.sampling.sampler}"

    @property
    def _name_of_error(self) -> str:
        return "standard error"


def _from_moments(
    estimator: Callable[[LossMoments], Estimate], moments: tuple[LossMoments, ...]
) -> Estimate:
    """The estimate of the first moments, with the bias of the step by the second, if any."""
    fine, *coarse = map(estimator, moments)
    return with_step_bias(fine, coarse[0]) if coarse else fine
