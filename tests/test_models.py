"""The contract of a model, held by every discovered problem and by one that a newcomer writes.

Anything above one datum is done in float64 by ``jax.enable_x64``, as the package does. Random
choices have fixed keys; where a check is statistical, its false-alarm probability is stated.
"""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from slt_jax import models
from slt_jax.data import scaled, simulate, statistics_along_n, statistics_of, validate_data
from slt_jax.model import FeatureRegression, Model, Regression
from slt_jax.models import named_problems
from slt_jax.models.linear import LinearRegression
from slt_jax.models.tanh_net import TanhNet
from slt_jax.problem import Problem, Truth
from slt_jax.shapes import datum_of
from slt_jax.statistics import Data, RegressionStatistics, WeightedData
from slt_jax.testing.contract import (
    check_dimension,
    check_entropy,
    check_float32,
    check_one_distribution,
    check_optimal_set,
    check_optimum,
    check_prior,
    check_simulation,
    check_sum_of_terms,
    check_value,
)
from slt_jax.testing.probe import (
    NUM_DATA,
    NUM_DRAWS,
    data_of,
    evaluate_along_y,
    evaluate_predictions,
    is_discrete,
    is_real,
    once,
    points,
    prior_draws,
    ratios,
    terms,
)


@dataclasses.dataclass(frozen=True)
class LogisticRegression(Model):
    """p(y = 1 | x, w) = 1/(1 + exp(−wᵀx)): all that a newcomer has to write."""

    input_dim: int = 2

    def priors(self):
        return {"w": dist.Normal(0.0, 1.0).expand((self.input_dim,))}

    def log_likelihood(self, params, x, y):
        return -jax.nn.softplus((1 - 2 * y) * (params["w"] @ x))

    def simulate(self, params, key):
        key_x, key_y = jax.random.split(key)
        x = jax.random.normal(key_x, (self.input_dim,))
        return x, jax.random.bernoulli(key_y, jax.nn.sigmoid(params["w"] @ x)).astype(x.dtype)


PROBLEMS = named_problems()
LOGISTIC = Problem("logistic_2", LogisticRegression(), {"w": np.array([1.0, -0.5])})
EVERY = pytest.mark.parametrize("problem", [*PROBLEMS.values(), LOGISTIC], ids=lambda p: p.name)


def first_models(*classes):
    """Problems of some classes; slow are all but those of the first model of a class.

    Each further model would compile every program anew.
    """
    first, cases = {}, []
    for problem in [*PROBLEMS.values(), LOGISTIC]:
        if isinstance(problem.model, classes):
            known = first.setdefault(type(problem.model), problem.model)
            marks = [] if known == problem.model else [pytest.mark.slow]
            cases.append(pytest.param(problem, marks=marks, id=problem.name))
    return cases


def realisable(cases):
    """Those whose truth is the model at the optimum."""
    return [case for case in cases if case.values[0].realisable]


COMPILED = pytest.mark.parametrize("problem", first_models(Model))
REGRESSION = pytest.mark.parametrize("problem", first_models(FeatureRegression))
GAUSSIAN = pytest.mark.parametrize("problem", first_models(Regression))

# Every density of one scalar but those that are compared with a closed form; linear_3 is both.
SCALAR = [
    case
    for case in first_models(Model)
    for problem in case.values
    if jax.eval_shape(problem.simulate, jax.random.key(0))[1].size == 1
    and (not isinstance(problem.model, Regression) or problem.name == "linear_3")
]


# Up to which the interpolation error of TanhNet is documented.
LIMITS = {TanhNet: {"b": 5.0}}


def limits_of(problem: Problem) -> dict[str, float]:
    return LIMITS.get(type(problem.model), {})


def predictions(problem: Problem) -> np.ndarray:
    """f(x_i, w) at ``points``, shape [point, n, q], float64."""
    with jax.enable_x64(True):
        x = data_of(problem).x
        return np.asarray(
            evaluate_predictions(problem.model, points(problem, limits_of(problem)), x)
        )


# --- what it is ------------------------------------------------------------------------------


def test_there_are_problems():
    assert {"linear_3", "monomial_1_1", "tanh_2"} <= set(PROBLEMS)


@EVERY
def test_name_is_an_identifier(problem):
    assert problem.name.isidentifier()
    assert problem.name == problem.name.lower()
    assert PROBLEMS.get(problem.name, problem) is problem


def test_names_are_unique(monkeypatch):
    """Two problems of one name are refused, and named; the search is not cached here."""
    module = sys.modules["slt_jax.models.linear"]
    twice = module.problems() * 2
    monkeypatch.setattr(module, "problems", lambda: twice)
    with pytest.raises(ValueError, match="linear_3"):
        models._discovered.__wrapped__()


@EVERY
def test_model_is_a_value(problem):
    """A rebuilt model is equal and hashes alike, so that compiled programs are shared."""
    check_value(problem)


@EVERY
def test_dimension_and_theory_are_possible(problem):
    check_dimension(problem)


# --- prior -----------------------------------------------------------------------------------


@COMPILED
def test_prior_draws_and_density_agree_in_shape(problem):
    check_prior(problem)
    draws = prior_draws(problem.model)
    assert all(len(np.unique(leaf)) == leaf.size for leaf in draws.values())


@COMPILED
@pytest.mark.false_alarm(comparisons=3, probability=1e-7)
def test_prior_draws_follow_the_density(problem):
    """On the line: densities integrate to 1, and draws through their integral are uniform.

    The trapezoid rule in t with w = sinh(t)·spread, which spares no tail; Kolmogorov and Smirnov's
    test of draws of all entries that share a distribution, false alarm 1e-7 each.
    """
    draws = prior_draws(problem.model)
    for name, prior in problem.model.priors().items():
        if prior.event_shape or not is_real(prior.support):
            continue
        t = np.linspace(-12, 12, 4001).reshape(-1, *len(prior.batch_shape) * (1,))
        w, jacobian = np.sinh(t), np.cosh(t) * (t.ravel()[1] - t.ravel()[0]).reshape(1)
        with jax.enable_x64(True):
            density = np.exp(prior.log_prob(np.broadcast_to(w, (len(w), *prior.batch_shape))))
        masses = (density * jacobian).reshape(len(w), -1)
        np.testing.assert_allclose(masses.sum(axis=0), 1, rtol=1e-6)
        columns = draws[name].reshape(NUM_DRAWS, -1)
        uniform = [
            np.interp(np.arcsinh(column), t.ravel(), np.cumsum(mass) - mass / 2)
            for column, mass in zip(columns.T, masses.T, strict=True)
        ]
        assert stats.kstest(np.ravel(uniform), "uniform").pvalue > 1e-7


def test_log_prior_by_hand():
    model = LinearRegression(input_dim=2, prior_scale=2.0)
    expected = stats.norm(0, 2).logpdf([1.0, -3.0]).sum()
    assert float(model.log_prior({"w": np.array([1.0, -3.0])})) == pytest.approx(expected, rel=1e-6)


# --- likelihood of one datum -----------------------------------------------------------------


@COMPILED
def test_simulated_data_are_valid(problem):
    """The same keys give the same data bit by bit, and no two keys the same real numbers."""
    check_simulation(problem)


@EVERY
def test_data_outside_the_support_are_refused(problem):
    """The first entry that is outside the support of a model is named."""
    datum, support = datum_of(problem), problem.model.support()
    inside = {name: np.ones((3, *shape.shape)) for name, shape in datum._asdict().items()}
    validate_data(problem, Data(**inside))
    for name, constraint in zip(Data._fields, support, strict=True):
        out = inside | {
            name: np.where(np.arange(inside[name].size) == 1, 7.5, 1).reshape(inside[name].shape)
        }
        if np.all(constraint(out[name])):
            validate_data(problem, Data(**out))
        else:
            with pytest.raises(ValueError, match=rf"^{name}\[.*1\] is 7.5; allowed: "):
                validate_data(problem, Data(**out))


@GAUSSIAN
def test_gaussian_density(problem):
    """Regression is N(f(x), σ²I) at any w, x and y, up to rounding of the residuals."""
    y, noise = data_of(problem).y[0], problem.model.noise
    for mean, log_density in zip(
        predictions(problem)[:, 0], terms(problem, limits_of(problem))[:, 0], strict=True
    ):
        normal = stats.multivariate_normal(mean, noise**2 * np.eye(len(mean)))
        assert log_density == pytest.approx(normal.logpdf(y), rel=1e-12)


@pytest.mark.parametrize("problem", SCALAR)
def test_density_integrates_to_one(problem):
    """∫ p(y|x,w) dy by the trapezoid rule, spectrally accurate for smooth densities.

    Means f(x) are within 40 of 0 for these keys, and the grid reaches 60. Of discrete y, the
    probabilities of those that occur are summed: to 1 if all of them are common, which classes
    are and counts without a bound are not, and to at most 1 otherwise.
    """
    x, y = data_of(problem)
    classes, occurrences = np.unique(y, axis=0, return_counts=True)
    grid = np.arange(-60, 60, 0.05).reshape(-1, *y.shape[1:])
    values, step = (classes, 1.0) if is_discrete(y) else (grid, 0.05)
    with jax.enable_x64(True):
        log_density = evaluate_along_y(problem.model, prior_draws(problem.model), x[0], values)
    total = np.exp(log_density).sum(axis=1) * step
    assert np.all(total <= 1 + 1e-12)
    if not is_discrete(y) or np.all(occurrences > 0.01 * NUM_DATA):
        np.testing.assert_allclose(total, 1, atol=1e-12)


@pytest.mark.parametrize("problem", realisable(first_models(Model)))
@pytest.mark.false_alarm(comparisons=4 * NUM_DRAWS, standard_errors=6)
def test_data_come_from_the_likelihood(problem):
    """6 standard errors over 10⁴ data; false alarm 2e-9 per point, 3e-7 per problem."""
    check_one_distribution(problem)


@pytest.mark.parametrize("problem", realisable(first_models(Regression)))
@pytest.mark.false_alarm(comparisons=1, probability=2e-7)
def test_simulated_noise(problem):
    """Residuals at w₀ over σ² are χ²; both tails together, the false alarm, have 2e-7."""
    residuals = data_of(problem).y - predictions(problem)[0]
    squares = np.sum(residuals**2) / problem.model.noise**2
    assert 1e-7 < stats.chi2(residuals.size).cdf(squares) < 1 - 1e-7


# --- likelihood of weighted data -------------------------------------------------------------


@COMPILED
def test_ratio_is_the_plain_sum(problem):
    """Σ a_i(ℓ_i(w) − ℓ_i(w₀)) of random weights at n = 10⁴, in float64.

    Rounding grows like a random walk over the 10⁴ terms, to 1e-13 of their absolute sum at most.
    TanhNet's interpolation, documented as 3e-9 to one digit, moves f by ε = 3.5e-9 Σ|a_h|, hence
    the sum by Σ_i a_i (|y_i − f_i| ε + ε²/2).
    """
    weights = np.random.default_rng(3).uniform(0, 2, NUM_DATA)
    at = points(problem, limits_of(problem))
    actual = ratios(problem, statistics_of(problem, data_of(problem), weights), at)
    ell, allowed = terms(problem, limits_of(problem)), 0.0
    if isinstance(problem.model, TanhNet):
        moved = 3.5e-9 * np.sum(np.abs(at["a"]), axis=1)
        residuals = np.sqrt(np.maximum(-2 * ell - np.log(2 * np.pi), 0))
        allowed = moved * (residuals @ weights) + moved**2 * weights.sum()
    check_sum_of_terms(actual, ell, weights, 1e-13, allowed)


@COMPILED
def test_reference_is_the_weighted_sum_at_the_optimum(problem):
    """Summation of 10⁴ terms in two orders: 1e-13 of their sum."""
    weights = np.random.default_rng(4).uniform(0, 2, NUM_DATA)
    statistics = statistics_of(problem, data_of(problem), weights)
    assert float(statistics.log_likelihood_at_optimum) == pytest.approx(
        weights @ terms(problem)[0], rel=1e-13
    )


@COMPILED
def test_float32_keeps_the_digits_of_differences(problem):
    check_float32(problem, limits_of(problem))


@COMPILED
@pytest.mark.false_alarm(comparisons=4 * NUM_DRAWS, standard_errors=6)
def test_optimum_minimises_the_expected_loss(problem):
    """No w is better than w₀ by 6 standard errors; false alarm 128·1e-9 = 1e-7 per problem."""
    check_optimum(problem, limits_of(problem))


def test_a_wrong_optimum_is_noticed():
    """The control of the test above: an optimum 0.2 off the truth is beaten."""
    right = PROBLEMS["linear_3"]
    moved = {"w": right.optimum["w"] + 0.2}
    wrong = Problem("wrong", right.model, moved, truth=Truth(right.model, right.optimum))
    assert not wrong.realisable
    with pytest.raises(AssertionError, match="the optimum is beaten"):
        check_optimum(wrong)


@COMPILED
@pytest.mark.false_alarm(comparisons=2, standard_errors=6)
def test_entropy_and_loss_are_those_of_the_data(problem):
    """S and L(w₀) against means over 10⁴ data, 6 standard errors: false alarm 2e-9 each."""
    check_entropy(problem)
    assert problem.realisable == (problem.divergence is None)
    assert problem.realisable or problem.divergence > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem",
    [problem for problem in PROBLEMS.values() if problem.optimal_set is not None],
    ids=lambda problem: problem.name,
)
@pytest.mark.false_alarm(comparisons=8, standard_errors=6)
def test_optimal_set_is_optimal(problem):
    check_optimal_set(problem)


@pytest.mark.parametrize("problem", realisable(first_models(FeatureRegression)))
def test_optimum_minimises_the_loss_averaged_over_noise(problem):
    """With y = E[y|x] the ratio is its own mean over the noise: −Σ|f − f₀|²/2σ², exactly.

    Interpolation (TanhNet, 3e-9 of f) and rounding leave 1e-6 of it and 1e-14 per datum.
    """
    f = predictions(problem)
    statistics = statistics_of(problem, Data(data_of(problem).x, f[0]))
    expected = -np.sum((f - f[0]) ** 2, axis=(1, 2)) / (2 * problem.model.noise**2)
    actual = ratios(problem, statistics, points(problem, limits_of(problem)))
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(("b", "documented"), [(5.0, 3e-9), (8.0, 5e-6)])
def test_tanh_interpolation_error_is_as_documented(b, documented):
    """f(x) by features and coefficients, against tanh itself, to the one digit that is given."""
    model = TanhNet(hidden_dim=1)
    x = np.linspace(-1, 1, 4001)
    with jax.enable_x64(True):
        coefficients = model.coefficients({"a": jnp.ones(1), "b": jnp.array([b])})
        interpolated = np.asarray(jax.vmap(model.features)(x) @ coefficients)
    assert float(f"{np.max(np.abs(interpolated[:, 0] - np.tanh(b * x))):.0e}") <= documented


# --- a newcomer's model ----------------------------------------------------------------------


@once
def evaluate_over_replicates(model: Model, params, statistics):
    return jax.vmap(model.log_likelihood_ratio, (None, 0))(params, statistics)


def logistic_gains(data: Data, w) -> np.ndarray:
    """ℓ_i(w) − ℓ_i(w₀) by hand."""
    signs = 2 * np.asarray(data.y) - 1
    at_w, at_optimum = (signs * (np.asarray(data.x) @ v) for v in (w, LOGISTIC.optimum["w"]))
    return np.logaddexp(0, -at_optimum) - np.logaddexp(0, -at_w)


def test_default_model_needs_no_statistics():
    """A model of two methods and a prior is reduced, weighted and scaled like any other."""
    data = Data(*(part[:20] for part in data_of(LOGISTIC)))
    weights = np.random.default_rng(5).uniform(0, 2, 20)
    statistics = statistics_of(LOGISTIC, data, weights)
    w = np.array([0.3, 0.8])
    with jax.enable_x64(True):
        ratio = LOGISTIC.model.log_likelihood_ratio({"w": w}, statistics)
        cooled = LOGISTIC.model.log_likelihood_ratio({"w": w}, scaled(statistics, 0.25))
    assert isinstance(statistics, WeightedData)
    assert float(ratio) == pytest.approx(weights @ logistic_gains(data, w), rel=1e-12)
    assert float(cooled) == pytest.approx(float(ratio) / 4, rel=1e-15)
    assert LOGISTIC.model.exact(LOGISTIC.optimum) is None


def test_default_model_along_n():
    """Padded data have weight zero: every n gives the ratio of the first n data alone."""
    sizes, w = (1, 5, 20), np.array([0.3, 0.8])
    along = statistics_along_n(LOGISTIC, jax.random.key(7), 3, sizes)
    with jax.enable_x64(True):
        along = [evaluate_over_replicates(LOGISTIC.model, {"w": w}, each) for each in along]
    for r in range(3):
        data = simulate(LOGISTIC, jax.random.fold_in(jax.random.key(7), r), 20)
        expected = np.cumsum(logistic_gains(data, w))[np.array(sizes) - 1]
        np.testing.assert_allclose([each[r] for each in along], expected, rtol=1e-12)


@REGRESSION
def test_statistics_do_not_grow_with_n(problem):
    statistics = statistics_of(problem, data_of(problem))
    assert isinstance(statistics, RegressionStatistics)
    assert all(NUM_DATA not in np.shape(leaf) for leaf in statistics)
