"""Posteriors whose quantities have the same names, whether they are exact or sampled."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from slt_jax.curves.held_out import held_out_points
from slt_jax.curves.jobs import temperature_nodes
from slt_jax.curves.predictions import Predictions, TemperedEnergies
from slt_jax.curves.reference import STARTS
from slt_jax.estimators import Estimate
from slt_jax.estimators.estimate import Reference, digits_of
from slt_jax.model import Regression
from slt_jax.oracles.criteria import HeldOut
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.oracle import Oracle
from slt_jax.problem import Problem
from slt_jax.run.quantities import ONE, QUANTITIES
from slt_jax.statistics import Data, Statistics

if TYPE_CHECKING:
    import xarray as xr

    from slt_jax.report.plotting import Figure

COLDEST, NUM_BETAS, NUM_INPUTS = 1e-2, 33, 41
Quantity = TypeVar("Quantity", Exact, Estimate)

UNITS = {
    name: "" if QUANTITIES[name].units == ONE else QUANTITIES[name].units
    for name in (
        "free_energy",
        "normalised_free_energy",
        "wbic",
        "learning_coefficient",
        "bayes_training_loss",
        "gibbs_training_loss",
        "functional_variance",
        "waic",
        "leave_one_out_loss",
        "bayes_generalisation_loss",
        "gibbs_generalisation_loss",
    )
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
        return shifted(self.normalised_free_energy, self.beta * self.energy_at_optimum)

    @property
    def wbic(self) -> Quantity:
        """WBIC = E_w[nL_n] at 1/log n, whatever β is, in total nats.

        Raises ValueError for n < 3, where 1/log n would exceed 1.
        """
        return shifted(self._normalised_wbic, self.energy_at_optimum)

    @property
    def learning_coefficient(self) -> Quantity:
        """λ̂ = (WBIC − nL_n(w₀))/log n, whatever β is. Raises ValueError for n < 3."""
        return self._normalised_wbic.scaled(self.wbic_beta)

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

    @abc.abstractmethod
    def log_predictive_density(self, points: Data) -> Quantity:
        """log E_w[p(y|x, w)] of each of the points [N], in nats.

        Raises ValueError for points that the problem cannot have.
        """

    @abc.abstractmethod
    def predict(self, x: ArrayLike, coverage: float = 0.95) -> xr.Dataset:
        """Predict y at inputs [N, ...]: E[y|x], its standard deviation, and an interval.

        The dataset has the dimensions (datum, output) and the variables ``mean``,
        ``standard_deviation``, ``low`` and ``high``; a new y lies between the last two with
        probability ``coverage``, and as often below as above. Raises ValueError for a model that is
        no regression, for inputs that it cannot have, for a coverage outside (0, 1) and, where the
        posterior is exact, for more than one output.
        """

    @property
    @abc.abstractmethod
    def reason(self) -> str:
        """Say what has not converged of all that was computed so far; empty if nothing."""

    @property
    def wbic_beta(self) -> float:
        """The inverse temperature 1/log n of WBIC. Raises ValueError for n < 3."""
        return temperature_nodes(self.n).wbic

    @property
    def points(self) -> HeldOut:
        """The points over which generalisation losses are averaged."""
        if self.held_out is not None:
            return self.held_out
        if not self.problem.has_truth:
            raise ValueError("no truth is known: give held_out data")
        return held_out_points(self.problem)

    @property
    def basis_of_reference(self) -> Reference:
        """The reference as ``Basis`` has it."""
        return "mode" if self.problem.optimum_is_fitted else "w0"

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
                rows.append(_row(name, *digits_of(float(value), float(error)), unit))
        title = f"{self.problem.name}: n = {self.n}, beta = {self.beta:g}, {self.method}"
        verdict = "converged" if self.converged else f"not converged: {self.reason}"
        reference = f"w0, which the learning coefficient is relative to: {self.reference}"
        return "\n".join([title, *rows, *refused, reference, verdict])

    @property
    @abc.abstractmethod
    def _normalised_wbic(self) -> Quantity: ...

    def plot(self) -> Figure:
        """Draw the posterior in at most six panels.

        β(E_β[nL_n] − nL_n(w₀)) against β, exact where there is an oracle that takes no minutes, and
        sampled at β and at 1/log n; predictions of a regression on one input, with the data; and
        the first parameters of a sampled posterior beside their prior.
        """
        from slt_jax.report.posterior_figure import posterior_figure  # brings matplotlib

        theory = self.problem.theory
        return posterior_figure(
            title=f"{self.problem.title or self.problem.name}: n = {self.n}, β = {self.beta:g}",
            exact=self._exact_energies,
            sampled=self._sampled_energies,
            learning_coefficient=None if theory is None else float(theory.learning_coefficient),
            marginals=self._marginals,
            predictions=self._predictions,
        )

    @property
    def _exact_energies(self) -> TemperedEnergies | None:
        oracle = self._oracle
        if oracle is None:
            return None
        beta = np.geomspace(min(COLDEST, self.beta / self.n), self.beta, NUM_BETAS)
        moments = [oracle.moments(self.statistics, float(b)).excess_energy for b in beta]
        values = np.array([float(energy.value) for energy in moments])
        return TemperedEnergies(beta, beta * values, 0 * beta)

    @property
    @abc.abstractmethod
    def _oracle(self) -> Oracle | None: ...

    @property
    @abc.abstractmethod
    def _sampled_energies(self) -> TemperedEnergies | None: ...

    @property
    @abc.abstractmethod
    def _marginals(self) -> Mapping[str, tuple[np.ndarray, np.ndarray]]: ...

    @property
    def _predictions(self) -> Predictions | None:
        """Predictions along the inputs of a regression of one scalar on another, else None."""
        if not isinstance(self.problem.model, Regression):
            return None
        x, y = (np.asarray(part).reshape(self.n, -1) for part in self.data)
        if x.shape[1] != 1 or y.shape[1] != 1:
            return None
        inputs = np.linspace(x.min(), x.max(), NUM_INPUTS)
        predicted = self.predict(inputs.reshape(-1, *self.data.x.shape[1:]))
        return Predictions(inputs, predicted, (x[:, 0], y[:, 0]))

    @property
    @abc.abstractmethod
    def method(self) -> str: ...

    @property
    @abc.abstractmethod
    def _name_of_error(self) -> str: ...


def shifted(quantity: Quantity, constant: float) -> Quantity:
    return quantity._replace(value=quantity.value + constant)


def _row(name: str, value: str, error: str, unit: str) -> str:
    return f"{name:<26}{value:>16}{error:>16}  {unit}".rstrip()
