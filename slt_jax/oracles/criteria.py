"""Losses and information criteria of one data set, exactly, with a bound on each error.

Generalisation losses are averages over held-out data with weights: an expectation over the truth
by quadrature, or a sample of it.
All come from log Z of per-datum weights: with g_j = log p(z_j|w) − log p(z_j|w₀) and weights βa,

    log E_w[p(z_j|w)] = log Z(βa + e_j) − log Z(βa),

and E_w[g_j], Var_w[g_j] are derivatives of log Z in the weight of z_j.

An ``…_error`` is relative to w₀: L_n(w₀) has been taken from training losses, L(w₀) from
generalisation losses. What is added to get the loss itself is ``loss_at_optimum``.
"""

import functools
import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss

from slt_jax.data import in_doubles, real_weights, simulate
from slt_jax.model import Regression
from slt_jax.oracles.evaluation import SAFETY, Evaluation, Exact, Term
from slt_jax.oracles.moments import RuleSums
from slt_jax.oracles.oracle import Oracle, check_oracle
from slt_jax.oracles.quadrature import Rule
from slt_jax.oracles.shards import statistics_in_parts
from slt_jax.problem import Problem, require_problem
from slt_jax.run.precision import in_default_precision, in_float64
from slt_jax.statistics import Data
from slt_jax.validation import AtLeast, Count, NonNegative, check, check_kind, checked

PREDICTIVE, LEFT_OUT, PREDICTIVE_LEFT_OUT = 0, 1, 2
# Orders of the Gauss rules of one scalar of x and of y, and of those that measure their errors.
ORDERS = {
    0: ((0, 32), (0, 24)),
    1: ((20, 20), (14, 14)),
    2: ((14, 16), (10, 12)),
    3: ((10, 16), (8, 12)),
}


Orders = tuple[tuple[int, int], tuple[int, int]]


class HeldOut(NamedTuple):
    """Weighted points z_j [N] with Σ_j weight_j h(z_j) ≈ E_z h(z) for z from the truth.

    ``check`` [N] are the weights of a coarser rule on some of these points, whose difference
    says how good the quadrature is, or None for points that were simulated.
    """

    data: Data
    weights: np.ndarray
    check: np.ndarray | None


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

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["monomial_1_1"]
    >>> data = slt.simulate(problem, jax.random.key(0), n=100)
    >>> criteria = slt.training_criteria(slt.oracle_for(problem), data)
    >>> f"F_n = {criteria.free_energy.value:.3f}, WAIC = {criteria.waic.value:.4f}"
    'F_n = 139.766, WAIC = 1.3895'
    """
    check_oracle(oracle)
    beta = checked("beta", beta, NonNegative)
    evaluation = oracle.evaluate(data, beta)
    n = len(data.y)
    average = np.full(n, 1 / n)

    def waic_term(sums: RuleSums) -> np.ndarray:
        return beta * sums.variance - sums.log_shifted[:, PREDICTIVE]

    free_energy, energy, energy_variance = evaluation.moments()
    return TrainingCriteria(
        evaluation.total(lambda s: -s.log_shifted[:, PREDICTIVE], average).of_data_set(0),
        evaluation.total(lambda s: -s.mean, average).of_data_set(0),
        evaluation.total(lambda s: s.variance, np.ones(n)).of_data_set(0),
        evaluation.total(waic_term, average).of_data_set(0),
        evaluation.total(lambda s: -_log_left_out(s), average).of_data_set(0),
        free_energy.of_data_set(0),
        energy.of_data_set(0),
        energy_variance.of_data_set(0),
        energy_at_optimum=-float(evaluation.log_likelihood_at_optimum[0]),
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
    check_oracle(oracle)
    evaluation = oracle.evaluate(data, beta, points, weights)
    terms = (
        lambda s: s.mean,
        lambda s: s.variance,
        lambda s: s.log_shifted[:, PREDICTIVE],
        _log_left_out,
    )
    return PointwiseMoments(*(evaluation.each(term).of_data_set(0) for term in terms))


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

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["monomial_1_1"]
    >>> data = slt.simulate(problem, jax.random.key(0), n=100)
    >>> points = slt.quadrature_points(problem)
    >>> errors = slt.generalisation_errors(slt.oracle_for(problem), data, points)
    >>> f"{errors.bayes_generalisation_error.value:.5f}"  # B_g in nats per datum
    '0.00324'
    """
    check_oracle(oracle)
    check_held_out(held_out)
    evaluation = oracle.evaluate(data, beta, held_out.data)
    bayes, bayes_standard_error = _expectation(
        evaluation, lambda s: -s.log_shifted[:, PREDICTIVE], held_out
    )
    gibbs, gibbs_standard_error = _expectation(evaluation, lambda s: -s.mean, held_out)
    known = oracle.problem.optimal_loss
    loss = _loss_at_optimum(oracle, held_out) if known is None else known
    return GeneralisationErrors(bayes, gibbs, bayes_standard_error, gibbs_standard_error, loss)


def check_held_out(held_out: Any) -> None:
    """Refuse anything but points with one finite weight each."""
    check_kind("held_out", held_out, HeldOut, "HeldOut points, as quadrature_points(problem)")
    for name in ("weights", "check"):
        if getattr(held_out, name) is not None:
            real_weights(getattr(held_out, name), len(held_out.data.y), f"held_out.{name}")


def _expectation(evaluation: Evaluation, term: Term, held_out: HeldOut) -> tuple[Exact, float]:
    exact = evaluation.total(term, held_out.weights).of_data_set(0)
    terms = term(evaluation.fine)[0]
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

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["monomial_1_1"]
    >>> data = slt.simulate(problem, jax.random.key(0), n=100)
    >>> f"{slt.wbic(slt.oracle_for(problem), data).value:.3f}"
    '139.717'
    """
    check_oracle(oracle)
    data = in_doubles(oracle.problem, data)
    n = len(data.y)
    if n < 3:
        raise ValueError(f"n = {n}: WBIC's β = 1/log n must be at most 1, so n must be ≥ 3")
    evaluation = oracle.evaluate(data, 1 / math.log(n), points=Data(data.x[:1], data.y[:1]))
    _, energy, _ = evaluation.moments()
    return energy.of_data_set(0).shifted(-evaluation.log_likelihood_at_optimum[0])


class NoQuadratureError(ValueError):
    """The truth of a problem has no quadrature rule."""


def simulated_points(problem: Problem, key: Array, size: int) -> HeldOut:
    """A sample of the truth. Raises ValueError for a size < 2, which has no standard error."""
    check("size", size, Annotated[int, AtLeast(2)])
    return HeldOut(simulate(problem, key, size), np.full(size, 1 / size), None)


@in_float64
def quadrature_points(problem: Problem, orders: Orders | None = None) -> HeldOut:
    """Gauss points of x and y for a regression whose inputs have a declared distribution.

    y by Gauss–Hermite rules around E[y|x], x by those of its uniform or normal components: as
    the log predictive density is analytic in both, the rule converges geometrically. ``orders``
    are those of a scalar of x and of y, and of the coarser rule that measures the error. Raises
    ValueError for a truth that is no Gaussian regression, for inputs of no declared distribution,
    for more than three scalars of x or two of y, and for orders that are no integers ≥ 1.

    >>> import numpy as np
    >>> import slt_jax as slt
    >>> points = slt.quadrature_points(slt.named_problems()["monomial_1_1"])  # truth y ~ N(0, 1)
    >>> f"E[y²] = {points.weights @ np.asarray(points.data.y)[:, 0] ** 2:.6f}"
    'E[y²] = 1.000000'
    """
    require_problem(problem)
    for i, order in enumerate(np.ravel([] if orders is None else orders)):
        checked(f"orders[{i // 2}][{i % 2}]", order, Count)
    if orders is not None and np.shape(orders) != (2, 2):
        raise ValueError(f"orders = {orders}: must be ((of x, of y), (coarser of x, of y))")
    truth = problem.true_density
    inputs = truth.model.input_distribution() if isinstance(truth.model, Regression) else None
    if not isinstance(truth.model, Regression) or inputs is None:
        raise NoQuadratureError(
            f"{problem.name}: an exact expectation needs a Gaussian regression with a declared "
            "distribution of its inputs; simulate held-out data instead"
        )
    dimension = math.prod(inputs.shape())
    outputs = jax.eval_shape(problem.simulate, jax.random.key(0))[1].size
    if dimension not in ORDERS or outputs > 2:
        raise NoQuadratureError(
            f"{problem.name}: {dimension} inputs and {outputs} outputs; at most 3 and 2 have a rule"
        )
    params = in_default_precision(truth.params)
    predict = jax.vmap(truth.model.predict, (None, 0))
    fine, coarse = (
        _product_points(inputs, dimension, outputs, *of_rule)
        for of_rule in orders or ORDERS[dimension]
    )
    x = np.concatenate([part[0] for part in (fine, coarse)])
    x = x.reshape(len(x), *inputs.shape())
    noise = np.concatenate([part[1] for part in (fine, coarse)])
    y = np.asarray(predict(params, jnp.asarray(x))) + truth.model.noise * noise
    return HeldOut(
        Data(jnp.asarray(x), jnp.asarray(y)),
        np.concatenate([fine[2], np.zeros(len(coarse[2]))]),
        np.concatenate([np.zeros(len(fine[2])), coarse[2]]),
    )


def _product_points(
    inputs: Any, dimension: int, outputs: int, order_x: int, order_y: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x [N, dimension], standard noise [N, outputs] and weights [N] of a tensor rule."""
    rules = [_input_rule(inputs, order_x) for _ in range(dimension)]
    rules += [_normal_rule(order_y)] * outputs
    grids = np.meshgrid(*[rule.nodes for rule in rules], indexing="ij")
    nodes = np.stack([grid.ravel() for grid in grids], axis=1)
    weights = functools.reduce(np.multiply.outer, [rule.weights for rule in rules]).ravel()
    return nodes[:, :dimension], nodes[:, dimension:], weights


def _input_rule(inputs: Any, order: int) -> Rule:
    """The Gauss rule of one component of independent and equal ones."""
    base = getattr(inputs, "base_dist", inputs)
    if isinstance(base, dist.Uniform):
        nodes, weights = leggauss(order)
        half = float(base.high - base.low) / 2
        return Rule(float(base.low) + half * (nodes + 1), weights / 2)
    if isinstance(base, dist.Normal):
        rule = _normal_rule(order)
        return Rule(float(base.loc) + float(base.scale) * rule.nodes, rule.weights)
    raise ValueError(f"inputs {inputs}: only uniform and normal components have a rule")


def _normal_rule(order: int) -> Rule:
    nodes, weights = hermegauss(order)
    return Rule(nodes, weights / np.sqrt(2 * np.pi))
