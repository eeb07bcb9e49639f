"""A numpyro model is the model that its formula says, with the Jacobians of its transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from slt_jax.adapters.numpyro_model import NumpyroModel
from slt_jax.curves.jobs import in_precision, ravelled, target_of, unravelled
from slt_jax.data import simulate, statistics_of
from slt_jax.estimators.diagnostics import mean_and_standard_error
from slt_jax.inference.arguments import checked_problem
from slt_jax.problem import Problem
from slt_jax.samplers.nuts import NUTSSettings, nuts
from slt_jax.statistics import Data


def hierarchical(x, y=None):
    """One site depends on another, one has a support that does, and one is an interval."""
    tau = numpyro.sample("tau", dist.HalfNormal(1.0))
    w = numpyro.sample("w", dist.Normal(0.0, tau).expand((2,)).to_event(1))
    sigma = numpyro.sample("sigma", dist.Uniform(0.0, 1 + tau))
    with numpyro.plate("data", x.shape[0]):
        numpyro.sample("y", dist.Normal(x @ w, sigma), obs=y)


def two_inputs(key):
    return jax.random.normal(key, (2,))


MODEL = NumpyroModel(function=hierarchical, sample_input=two_inputs)
VALUES = {"tau": 0.7, "w": np.array([0.1, -0.2]), "sigma": 0.4}


def test_densities_by_hand():
    with jax.enable_x64(True):
        log_prior = float(MODEL.log_prior(VALUES))
        log_p = float(MODEL.log_likelihood(VALUES, np.array([1.0, 2.0]), np.array(0.5)))
    prior = stats.halfnorm.logpdf(0.7) + stats.norm(0, 0.7).logpdf(VALUES["w"]).sum()
    assert log_prior == pytest.approx(prior - np.log(1.7), rel=1e-6)
    assert log_p == pytest.approx(stats.norm(-0.3, 0.4).logpdf(0.5), rel=1e-6)
    assert MODEL.dimension == 4
    assert list(MODEL.priors()) == ["tau", "w", "sigma"]


def test_density_in_real_coordinates_by_hand():
    """u_tau = log τ, u_sigma = logit σ/(1 + τ), in the order sigma, tau, w of their names."""
    tau, sigma, high = 0.7, 0.4, 1.7
    with jax.enable_x64(True):
        target, u = target_of(MODEL), ravelled(MODEL, VALUES)
        density, back = float(target.log_prior(u)), unravelled(MODEL, u)
    expected = [np.log(sigma / (high - sigma)), np.log(tau), 0.1, -0.2]
    np.testing.assert_allclose(u, expected, rtol=1e-6)
    jacobian = np.log(tau) + np.log(sigma * (high - sigma) / high)
    prior = stats.halfnorm.logpdf(tau) + stats.norm(0, tau).logpdf(VALUES["w"]).sum()
    assert density == pytest.approx(prior - np.log(high) + jacobian, rel=1e-6)
    for name, value in VALUES.items():
        np.testing.assert_allclose(back[name], value, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=3, probability=1e-6)
def test_prior_draws_follow_the_sites():
    """log τ of 2000 draws against the half-normal law: Kolmogorov and Smirnov, 1e-6."""
    draws = jax.vmap(MODEL.sample_prior)(jax.random.split(jax.random.key(0), 2000))
    tau, w, sigma = (np.asarray(draws[name], float) for name in ("tau", "w", "sigma"))
    assert stats.kstest(tau, stats.halfnorm.cdf).pvalue > 1e-6
    assert stats.kstest(w[:, 0] / tau, stats.norm.cdf).pvalue > 1e-6
    assert stats.kstest(sigma / (1 + tau), "uniform").pvalue > 1e-6


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, probability=1e-6)
def test_data_and_sums():
    problem = Problem("numpyro", MODEL, jax.tree.map(np.asarray, VALUES))
    data = Data(*map(np.asarray, simulate(problem, jax.random.key(2), 2000)))
    assert (data.x.shape, data.y.shape) == ((2000, 2), (2000,))
    residuals = (data.y - data.x @ VALUES["w"]) / VALUES["sigma"]
    assert stats.kstest(residuals, stats.norm.cdf).pvalue > 1e-6
    moved = {"tau": 0.7, "w": VALUES["w"] + np.array([0.5, 0.0]), "sigma": 0.5}
    with jax.enable_x64(True):
        ratio = MODEL.log_likelihood_ratio(moved, statistics_of(problem, data))
    better = stats.norm(data.x @ np.array([0.6, -0.2]), 0.5).logpdf(data.y).sum()
    own = stats.norm(data.x @ VALUES["w"], VALUES["sigma"]).logpdf(data.y).sum()
    assert float(ratio) == pytest.approx(better - own, rel=1e-5)


def discrete(x, y=None):
    k = numpyro.sample("k", dist.Bernoulli(0.5))
    numpyro.sample("y", dist.Normal(k, 1.0).expand(x.shape[:1]), obs=y)


def with_factor(x, y=None):
    w = numpyro.sample("w", dist.Normal(0.0, 1.0))
    numpyro.factor("penalty", -(w**2))
    numpyro.sample("y", dist.Normal(w, 1.0).expand(x.shape[:1]), obs=y)


@pytest.mark.parametrize(
    ("function", "observed", "message"),
    [
        (hierarchical, "z", "sites are tau, w, sigma, y"),
        (discrete, "y", "'k' is discrete"),
        (with_factor, "y", "'penalty' is observed"),
    ],
)
def test_impossible_models_are_refused(function, observed, message):
    with pytest.raises(ValueError, match=message):
        NumpyroModel(function=function, sample_input=two_inputs, observed=observed)


def categories(x, y=None):
    w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand((3,)).to_event(1))
    numpyro.sample("y", dist.Categorical(logits=x[:, None] * w), obs=y)


def successes(x, y=None):
    """x is the number of trials: the support of y is another at every x."""
    w = numpyro.sample("w", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Binomial(total_count=x.astype(int), logits=w), obs=y)


def counts(x, y=None):
    rate = numpyro.sample("rate", dist.HalfNormal(1.0))
    with numpyro.plate("data", x.shape[0]):
        numpyro.sample("y", dist.Poisson(rate), obs=y)


def shares(x, y=None):
    c = numpyro.sample("c", dist.HalfNormal(1.0))
    with numpyro.plate("data", x.shape[0]):
        numpyro.sample("y", dist.Beta(c, 1.0), obs=y)


def below_a_bound(x, y=None):
    """The support of y depends on a parameter: what is outside of it has density zero."""
    high = numpyro.sample("high", dist.HalfNormal(1.0))
    with numpyro.plate("data", x.shape[0]):
        numpyro.sample("y", dist.Uniform(0.0, high), obs=y)


def one_input(key):
    return jax.random.normal(key)


def one_count(key):
    return jax.random.randint(key, (), 1, 9)


def at_zero(function, sample_input=one_input):
    model = NumpyroModel(function=function, sample_input=sample_input)
    return Problem("numpyro", model, unravelled(model, np.zeros(model.dimension)))


@pytest.mark.parametrize(
    ("problem", "x", "y", "expected"),
    [
        (at_zero(categories), [0.5, 2.0], [0, 2], -2 * np.log(3)),
        (at_zero(successes, one_count), [3, 5], [3, 4], stats.binom(8, 0.5).logpmf(0) + np.log(5)),
        (at_zero(counts), [0.0, 0.0], [0, 2], stats.poisson(1).logpmf([0, 2]).sum()),
        (at_zero(shares), [0.0, 0.0], [0.5, 0.1], 0.0),
        (at_zero(below_a_bound), [0.0, 0.0], [0.5, 1.0], 0.0),
    ],
)
def test_likelihoods_of_any_support(problem, x, y, expected):
    """Counts and classes are floats here, and indices or integers to numpyro."""
    log_likelihood_at_optimum = statistics_of(
        problem, Data(np.array(x), np.array(y, float))
    ).log_likelihood_at_optimum
    assert float(log_likelihood_at_optimum) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("problem", "x", "y", "message"),
    [
        (at_zero(categories), [0.5, 2.0], [0, 3], "3.0; allowed: IntegerInterval"),
        (at_zero(categories), [0.5, 2.0], [0, -1], "-1.0; allowed: IntegerInterval"),
        (at_zero(categories), [0.5, 2.0], [0, 0.5], "0.5; allowed: IntegerInterval"),
        (at_zero(successes, one_count), [6, 5], [6, 6], "6.0; allowed at its x: IntegerInterval"),
        (at_zero(successes, one_count), [6, 5], [6, 0.5], "0.5; allowed: whole numbers"),
        (at_zero(counts), [0.0, 0.0], [0, -1], "-1.0; allowed: IntegerNonnegative"),
        (at_zero(counts), [0.0, 0.0], [0, 1.5], "1.5; allowed: IntegerNonnegative"),
        (at_zero(shares), [0.0, 0.0], [0.5, 1.5], "1.5; allowed: UnitInterval"),
    ],
)
def test_data_outside_the_support_are_refused(problem, x, y, message):
    data = Data(np.array(x), np.array(y, float))
    with pytest.raises(ValueError) as error:
        statistics_of(problem, data)
    assert str(error.value).startswith(f"y[1] is {message}")
    with jax.enable_x64(True):
        log_p = problem.model.log_likelihood(problem.optimum, data.x[1], data.y[1])
    assert float(log_p) == -np.inf


def test_a_density_whose_support_depends_on_a_parameter_is_zero_outside():
    """numpyro's is not: Uniform(0, b) has density 1/b everywhere."""
    problem = at_zero(below_a_bound)
    params = {"high": 2.0}
    densities = [problem.model.log_likelihood(params, 0.0, np.array(y)) for y in (1.5, 2.5, -0.5)]
    np.testing.assert_allclose(densities, [-np.log(2), -np.inf, -np.inf], rtol=1e-6)
    with pytest.raises(ValueError, match="at the optimum of numpyro is -inf"):
        statistics_of(problem, Data(np.zeros(1), np.array([2.5])))


def test_draws_of_a_density_are_not_rounded_where_x_is_an_integer():
    """y was cast to the type of x."""
    problem = at_zero(below_a_bound, one_count)
    y = np.asarray(simulate(problem, jax.random.key(0), 8).y)
    assert np.all((y > 0) & (y < 1))


def without_a_plate(x, y=None):
    numpyro.sample("y", dist.Normal(numpyro.sample("w", dist.Normal(0.0, 1.0)), 1.0), obs=y)


@pytest.mark.parametrize(
    ("function", "sample_input", "message"),
    [
        (without_a_plate, one_input, r"site 'y' has shape \(\); allowed for one x: \(1, …\)"),
        (counts, lambda key: (0.0, 1.0), "sample_input returns .*; allowed: one array"),
    ],
)
def test_sites_of_another_shape_are_refused(function, sample_input, message):
    with pytest.raises(ValueError, match=message):
        NumpyroModel(function=function, sample_input=sample_input)


def centred(x, y=None):
    """Each datum depends on the mean of all x."""
    w = numpyro.sample("w", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(w * (x - jnp.mean(x)), 1.0), obs=y)


def one_density(x, y=None):
    """One density of all data, which are independent all the same."""
    w = numpyro.sample("w", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(w * x, 1.0).to_event(1), obs=y)


def test_data_that_depend_on_one_another_are_refused():
    data = Data(np.array([1.0, 3.0]), np.array([0.5, 2.0]))
    with pytest.raises(ValueError, match="log p of the first 2 data is .* must be independent"):
        statistics_of(at_zero(centred), data)
    statistics = statistics_of(at_zero(one_density), data)
    expected = stats.norm(0, 1).logpdf(data.y).sum()
    assert float(statistics.log_likelihood_at_optimum) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "problem",
    [at_zero(categories), at_zero(counts), at_zero(below_a_bound), at_zero(one_density),
     at_zero(hierarchical, two_inputs)],
    ids=lambda problem: problem.model.function.__name__,
)  # fmt: skip
def test_terms_of_all_data_are_those_of_each(problem):
    """Also of those outside the support, whose density is zero."""
    model, params = problem.model, problem.model.sample_prior(jax.random.key(1))
    x, y = jax.vmap(lambda key: model.simulate(params, key))(jax.random.split(jax.random.key(2), 5))
    data = Data(x, y.at[3].set(-7.0))
    together = np.asarray(model.log_likelihoods(params, data))
    alone = [float(model.log_likelihood(params, *datum)) for datum in zip(*data, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert together.shape == (5,)


EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def schools(x, y=None):
    """The school and the standard error of its effect y are the columns of x."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    theta = numpyro.sample("theta", dist.Normal(0.0, 1.0).expand((8,)).to_event(1))
    with numpyro.plate("data", x.shape[0]):
        mean = mu + tau * theta[x[:, 0].astype(int)]
        numpyro.sample("y", dist.Normal(mean, x[:, 1]), obs=y)


def one_school(key):
    school = jax.random.randint(key, (), 0, 8)
    return jnp.stack([school.astype(float), jnp.asarray(ERRORS)[school]])


SCHOOLS = Data(np.column_stack([np.arange(8.0), ERRORS]), EFFECTS)
LOOKED_AT = [{"example": SCHOOLS.x[0]}, {"sample_input": one_school}]


@pytest.mark.parametrize("given", LOOKED_AT, ids=["example", "sample_input"])
def test_a_model_is_looked_at_with_an_input_of_its_own(given):
    """At x = 0 the standard error is 0, which numpyro's validation refuses."""
    params = {"mu": 4.0, "tau": 3.0, "theta": np.linspace(-1, 1, 8)}
    expected = stats.norm(4 + 3 * params["theta"], ERRORS).logpdf(EFFECTS).sum()
    with numpyro.validation_enabled():
        model = NumpyroModel(function=schools, **given)
        assert model.dimension == 10
        u = ravelled(model, model.sample_prior(jax.random.key(0)))
        assert np.isfinite(target_of(model).log_prior(u))
        statistics = statistics_of(Problem("schools", model, params), SCHOOLS)
    assert float(statistics.log_likelihood_at_optimum) == pytest.approx(expected, rel=1e-9)
    assert hash(model) == hash(NumpyroModel(function=schools, **given))


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=2, standard_errors=5.5)
def test_eight_schools():
    """The means of the reference draws of posteriordb, 4.41 and 3.60; they have errors of 0.03."""
    model = NumpyroModel(function=schools, example=SCHOOLS.x[0])
    problem = Problem("schools", model, {"mu": 4.0, "tau": 3.0, "theta": np.zeros(8)})
    data = in_precision(statistics_of(problem, SCHOOLS), jnp.float32)
    target, keys = target_of(model), jax.random.split(jax.random.key(0), 16)
    settings = NUTSSettings(num_warmup=500, num_draws=500, target_acceptance=0.95)
    starts = jax.vmap(target.sample_prior)(keys)
    run = jax.jit(nuts, static_argnums=(0, 1))(
        target, settings, jax.random.key(1), data, 1.0, starts
    )
    params = jax.vmap(jax.vmap(lambda w: unravelled(model, w)))(run.positions)
    for name, reference, spread in (("mu", 4.41, 3.3), ("tau", 3.60, 3.2)):
        mean, error = mean_and_standard_error(np.asarray(params[name]))
        assert (spread / error) ** 2 > 1000
        assert abs(mean - reference) < 5.5 * np.hypot(error, 0.03)


def test_without_sample_input_nothing_is_simulated():
    model = NumpyroModel(function=counts, example=0.5)
    with pytest.raises(ValueError, match="sample_input = None: it must be given to simulate"):
        simulate(Problem("counts", model, {"rate": 1.0}), jax.random.key(0), 3)
    with pytest.raises(ValueError, match="sample_input = None and example = None: one of them"):
        _ = NumpyroModel(function=counts).dimension


def test_a_model_is_looked_at_with_the_first_datum():
    """Without an example and without draws of x; where it has either, that is kept."""
    bare = NumpyroModel(function=schools)
    lists = Data(SCHOOLS.x.tolist(), SCHOOLS.y.tolist())
    with numpyro.validation_enabled():
        problem = checked_problem(bare, [lists, lists])
    assert problem.model == NumpyroModel(function=schools, example=SCHOOLS.x[0])
    for given in LOOKED_AT:
        model = NumpyroModel(function=schools, **given)
        assert checked_problem(model, SCHOOLS).model is model
    without_x = checked_problem(NumpyroModel(function=counts), Data(None, [1.0, 2.0]))
    assert without_x.model.dimension == 1
    with pytest.raises(ValueError, match="x: array of type"):
        checked_problem(bare, Data(["a"], [1.0]))
    with pytest.raises(ValueError, match="'k' is discrete"):
        checked_problem(NumpyroModel(function=discrete), Data([1.0], [1.0]))
