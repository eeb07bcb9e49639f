"""Losses and information criteria of one data set, exactly, with a bound on each error.

All come from log Z of per-datum weights: with g_j = log p(z_j|w) − log p(z_j|w₀) and weights βa,

    log E_w[p(z_j|w)] = log Z(βa + e_j) − log Z(βa),

and E_w[g_j], Var_w[g_j] are derivatives of log Z in the weight of z_j.

An ``…_error`` is relative to w₀: L_n(w₀) has been taken from training losses, L(w₀) from
generalisation losses. What is added to get the loss itself is ``loss_at_optimum``.
"""

import math
from typing import NamedTuple

import numpy as np

from slt_jax.oracles.evaluation import SAFETY, Evaluation, Exact, Term
from slt_jax.oracles.expectation import HeldOut
from slt_jax.oracles.moments import RuleSums
from slt_jax.oracles.oracle import Oracle
from slt_jax.oracles.shards import statistics_in_parts
from slt_jax.run.precision import in_float64
from slt_jax.statistics import Data

PREDICTIVE, LEFT_OUT, PREDICTIVE_LEFT_OUT = 0, 1, 2


class TrainingCriteria(NamedTuple):
    """Exact criteria of n training data at one β, scalars.

    Per datum: ``bayes_training_error`` T_n − L_n(w₀); ``gibbs_training_error`` E_w[L_n] − L_n(w₀);
    ``waic_error`` T_n + (β/n)V_n − L_n(w₀); ``loo_error``, the mean of −log E_{w|−j}[p(z_j|w)],
    less L_n(w₀). ``functional_variance`` V_n is a sum over data. Total nats: the moments, as in
    ``ExactMoments``, and ``energy_at_optimum`` nL_n(w₀).
    """

    bayes_training_error: Exact
    gibbs_training_error: Exact
    functional_variance: Exact
    waic_error: Exact
    loo_error: Exact
    normalised_free_energy: Exact
    excess_energy: Exact
    energy_variance: Exact
    energy_at_optimum: float
    beta: float
    n: int

    @property
    def loss_at_optimum(self) -> float:
        """L_n(w₀), per datum."""
        return self.energy_at_optimum / self.n

    @property
    def free_energy(self) -> Exact:
        """F_n(β), total nats."""
        return self.normalised_free_energy.shifted(self.beta * self.energy_at_optimum)

    @property
    def bayes_training_loss(self) -> Exact:
        """T_n, per datum."""
        return self.bayes_training_error.shifted(self.loss_at_optimum)

    @property
    def gibbs_training_loss(self) -> Exact:
        """E_w[L_n], per datum."""
        return self.gibbs_training_error.shifted(self.loss_at_optimum)

    @property
    def waic(self) -> Exact:
        """WAIC = T_n + (β/n)V_n, per datum (Watanabe, JMLR 11, 2010, eq. 5)."""
        return self.waic_error.shifted(self.loss_at_optimum)

    @property
    def loo(self) -> Exact:
        """Leave-one-out cross-validation loss, per datum."""
        return self.loo_error.shifted(self.loss_at_optimum)


class PointwiseMoments(NamedTuple):
    """Exact posterior quantities of each datum z_j relative to w₀, in nats, shape [N].

    ``mean`` E_w[g_j]; ``variance`` Var_w[g_j]; ``log_predictive`` log E_w[exp g_j];
    ``log_left_out`` the same under the posterior of the other data, of which only data that were
    trained on have any.
    """

    mean: Exact
    variance: Exact
    log_predictive: Exact
    log_left_out: Exact


class GeneralisationErrors(NamedTuple):
    """Exact generalisation errors of a posterior on held-out data, per datum, scalars.

    ``bayes_generalisation_error`` B_g = G_n − L(w₀); ``gibbs_generalisation_error``
    G_g = E_w[L(w)] − L(w₀). ``bayes_standard_error`` and ``gibbs_standard_error`` are those of the
    averages over simulated held-out data, 0 where the expectation was by quadrature.
    ``loss_at_optimum`` is the average of −log p(z|w₀) over the same data.
    """

    bayes_generalisation_error: Exact
    gibbs_generalisation_error: Exact
    bayes_standard_error: float
    gibbs_standard_error: float
    loss_at_optimum: float

    @property
    def bayes_generalisation_loss(self) -> Exact:
        """G_n, per datum."""
        return self.bayes_generalisation_error.shifted(self.loss_at_optimum)

    @property
    def gibbs_generalisation_loss(self) -> Exact:
        """E_w[L(w)], per datum."""
        return self.gibbs_generalisation_error.shifted(self.loss_at_optimum)


@in_float64
def training_criteria(oracle: Oracle, data: Data, beta: float = 1.0) -> TrainingCriteria:
    """T_n, Gibbs loss, V_n, WAIC, LOO, F_n and energies of one data set at β.

    Raises ValueError for data that ``validate_data`` refuses and for β < 0 or not finite.
    """
    found = oracle.evaluate(data, beta)
    n = len(data.y)
    average = np.full(n, 1 / n)

    def waic_term(sums: RuleSums) -> np.ndarray:
        return beta * sums.variance - sums.log_shifted[:, PREDICTIVE]

    free_energy, energy, energy_variance = found.moments()
    return TrainingCriteria(
        found.total(lambda s: -s.log_shifted[:, PREDICTIVE], average).of_data_set(0),
        found.total(lambda s: -s.mean, average).of_data_set(0),
        found.total(lambda s: s.variance, np.ones(n)).of_data_set(0),
        found.total(waic_term, average).of_data_set(0),
        found.total(lambda s: -_log_left_out(s), average).of_data_set(0),
        free_energy.of_data_set(0),
        energy.of_data_set(0),
        energy_variance.of_data_set(0),
        energy_at_optimum=-float(found.log_likelihood_at_optimum[0]),
        beta=beta,
        n=n,
    )


@in_float64
def pointwise_moments(
    oracle: Oracle,
    data: Data,
    points: Data | None = None,
    beta: float = 1.0,
    weights: np.ndarray | None = None,
) -> PointwiseMoments:
    """E_w[g_j], Var_w[g_j] and predictive densities of the training data, or of other points.

    The posterior has the weights β·``weights``, ones by default. Raises ValueError as
    ``Oracle.evaluate`` does.
    """
    found = oracle.evaluate(data, beta, points, weights)
    terms = (
        lambda s: s.mean,
        lambda s: s.variance,
        lambda s: s.log_shifted[:, PREDICTIVE],
        _log_left_out,
    )
    return PointwiseMoments(*(found.each(term).of_data_set(0) for term in terms))


def _log_left_out(sums: RuleSums) -> np.ndarray:
    return sums.log_shifted[:, PREDICTIVE_LEFT_OUT] - sums.log_shifted[:, LEFT_OUT]


@in_float64
def generalisation_errors(
    oracle: Oracle, data: Data, held_out: HeldOut, beta: float = 1.0
) -> GeneralisationErrors:
    """B_g and G_g of the posterior of one data set at β, averaged over held-out points.

    With points of ``quadrature_points`` the bounds hold the error of that quadrature too, and
    there is no Monte-Carlo error. Raises ValueError for data or points that ``validate_data``
    refuses and for β < 0 or not finite.
    """
    found = oracle.evaluate(data, beta, held_out.data)
    bayes, bayes_standard_error = _expectation(
        found, lambda s: -s.log_shifted[:, PREDICTIVE], held_out
    )
    gibbs, gibbs_standard_error = _expectation(found, lambda s: -s.mean, held_out)
    known = oracle.problem.optimal_loss
    loss = _loss_at_optimum(oracle, held_out) if known is None else known
    return GeneralisationErrors(bayes, gibbs, bayes_standard_error, gibbs_standard_error, loss)


def _expectation(found: Evaluation, term: Term, held_out: HeldOut) -> tuple[Exact, float]:
    exact = found.total(term, held_out.weights).of_data_set(0)
    terms = term(found.fine)[0]
    if held_out.check is None:
        return exact, float(np.std(terms, ddof=1) / np.sqrt(len(terms)))
    by_quadrature = SAFETY * np.abs(exact.value - terms @ held_out.check)
    return Exact(exact.value, exact.error + by_quadrature), 0.0


def _loss_at_optimum(oracle: Oracle, held_out: HeldOut) -> float:
    parts = statistics_in_parts(oracle.problem, held_out.data, held_out.weights)
    return -float(sum(part.log_likelihood_at_optimum for part in parts))


@in_float64
def wbic(oracle: Oracle, data: Data) -> Exact:
    """WBIC = E_w^β[nL_n] at β = 1/log n, in total nats (Watanabe, JMLR 14, 2013, eq. 3).

    Raises ValueError for n < 3, where β would exceed 1, and for data that ``validate_data``
    refuses.
    """
    n = len(data.y)
    if n < 3:
        raise ValueError(f"n = {n}: WBIC's β = 1/log n must be at most 1, so n must be ≥ 3")
    found = oracle.evaluate(data, 1 / math.log(n), points=Data(data.x[:1], data.y[:1]))
    _, energy, _ = found.moments()
    return energy.of_data_set(0).shifted(-found.log_likelihood_at_optimum[0])
