"""Another prior leaves a model what it was but for the prior, and a constant to compilers."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats

from slt_jax.adapters.priors import Prior, with_priors
from slt_jax.curves.jobs import target_of, unravelled
from slt_jax.data import statistics_along_n, statistics_of
from slt_jax.models.linear import LinearRegression
from slt_jax.models.monomial import MonomialRegression
from slt_jax.models.normal_mixture import NormalMixture
from slt_jax.models.tanh_net import TanhNet
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.statistics import Data, RegressionStatistics

LAPLACE = Prior(dist.Laplace, (0.5, 2.0))
BOX = Prior(dist.Uniform, (-1.0, 1.0))
STUDENT = Prior(dist.StudentT, (4.0, 0.0, 1.0))


def test_density_is_the_new_one_where_named():
    model = with_priors(TanhNet(hidden_dim=2), b=LAPLACE)
    params = {"a": np.array([0.3, -1.0]), "b": np.array([1.0, 4.0])}
    expected = (
        stats.norm.logpdf(params["a"]).sum() + stats.laplace(0.5, 2).logpdf(params["b"]).sum()
    )
    assert float(model.log_prior(params)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.false_alarm(comparisons=1, probability=1e-6)
def test_draws_are_the_new_ones():
    """Kolmogorov and Smirnov's test of 4000 entries: false alarm 1e-6."""
    model = with_priors(LinearRegression(input_dim=4000), w=LAPLACE)
    draws = np.asarray(model.sample_prior(jax.random.key(0))["w"], float)
    assert stats.kstest(draws, stats.laplace(0.5, 2).cdf).pvalue > 1e-6
    assert stats.kstest(draws, stats.norm.cdf).pvalue < 1e-6


def test_equal_models_are_equal():
    one, other = (with_priors(TanhNet(hidden_dim=2), b=LAPLACE) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one not in (TanhNet(hidden_dim=2), with_priors(TanhNet(hidden_dim=2), b=STUDENT))


def test_changes_accumulate_in_any_order():
    base = TanhNet(hidden_dim=2)
    both = with_priors(base, a=STUDENT, b=LAPLACE)
    assert with_priors(with_priors(base, b=LAPLACE), a=STUDENT) == both
    assert with_priors(with_priors(base, a=LAPLACE, b=LAPLACE), a=STUDENT) == both


def test_statistics_stay_and_the_oracle_goes():
    """An oracle that integrates the block under the old prior must not be offered."""
    model = with_priors(LinearRegression(), w=LAPLACE)
    problem = Problem("laplace", model, {"w": np.zeros(3)})
    assert isinstance(
        statistics_of(problem, Data(np.ones((2, 3)), np.ones((2, 1)))), RegressionStatistics
    )
    assert model.exact(problem.optimum) is None
    assert oracle_for(problem) is None


def log_evidence_of_a_product(exponents, gram, cross, c):
    """log ∫ e^{−G(t − c)²/2 + U(t − c)} du dv/4 of t = u^p v^q on the box [−1, 1]².

    Midpoints in log|u| and log|v|, down to where 10⁻⁸ of the prior is left.
    """
    p, q = exponents
    s = 20 * ((np.arange(2500) + 0.5) / 2500 - 1)
    logs = []
    for sign in (1, -1):
        for other in (1, -1):
            t = np.outer((sign * np.exp(s)) ** p, (other * np.exp(s)) ** q) - c
            terms = t * (cross - 0.5 * gram * t) + np.add.outer(s, s)
            logs.append(np.log(np.sum(np.exp(terms - terms.max()))) + terms.max())
    return np.logaddexp.reduce(logs) + 2 * np.log(20 / 2500) - 2 * np.log(2)


@pytest.mark.parametrize(
    ("exponents", "n", "root"),
    [
        ((1, 1), 30, 0.0),
        pytest.param((1, 1), 100_000, 0.0, marks=pytest.mark.slow),
        pytest.param((2, 1), 30, 0.0, marks=pytest.mark.slow),
        pytest.param((2, 2), 1000, 0.0, marks=pytest.mark.slow),
        pytest.param((1, 1), 10_000, 0.6, marks=pytest.mark.slow),
    ],
)
def test_monomials_on_a_box_have_an_oracle(exponents, n, root):
    model = with_priors(MonomialRegression(exponents=exponents), w=BOX)
    problem = Problem("box", model, {"w": np.full(2, root)})
    statistics = statistics_along_n(problem, jax.random.key(1), 1, [n])[0]
    gram, cross, c = (float(leaf[0, 0, 0]) for leaf in statistics[:3])
    exact = oracle_for(problem).log_evidence(statistics)
    assert exact.error[0] < 1e-4
    expected = log_evidence_of_a_product(exponents, gram, cross, c)
    assert abs(exact.value[0] - expected) < exact.error[0] + 1e-6


def test_one_parameter_on_a_box_has_an_oracle():
    """∫ e^{−G(w² − c)²/2 + U(w² − c)} dw/3 by scipy, and E[nL_n] of it, on [−1, 2]."""
    model = with_priors(MonomialRegression(exponents=(2,)), w=Prior(dist.Uniform, (-1.0, 2.0)))
    problem = Problem("box", model, {"w": np.full(1, 1.5)})
    statistics = statistics_along_n(problem, jax.random.key(2), 1, [200])[0]
    gram, cross, c = (float(leaf[0, 0, 0]) for leaf in statistics[:3])

    def energy(w):
        t = w**2 - c
        return t * (0.5 * gram * t - cross)

    def integral(f):
        return integrate.quad(f, -1, 2, points=[-1, 0, 1.4, 1.5, 1.6], epsabs=0, epsrel=1e-11)[0]

    mass = integral(lambda w: np.exp(-energy(w)) / 3)
    mean = integral(lambda w: energy(w) * np.exp(-energy(w)) / 3) / mass
    exact = oracle_for(problem).moments(statistics)
    for found, expected in (
        (exact.normalised_free_energy, -np.log(mass)),
        (exact.excess_energy, mean),
    ):
        assert found.error[0] < 1e-3
        assert abs(found.value[0] - expected) < found.error[0]


@pytest.mark.parametrize(
    ("model", "changed"),
    [
        (MonomialRegression(exponents=(1, 1, 1)), {"w": BOX}),
        (MonomialRegression(exponents=(1, 1)), {"w": Prior(dist.HalfNormal, (1.0,))}),
        (MonomialRegression(exponents=(1, 1)), {"w": Prior(dist.Normal, (0.5, 1.0))}),
        (NormalMixture(first_mean_fixed=True), {"b": BOX}),
    ],
)
def test_an_oracle_that_does_not_fit_is_not_offered(model, changed):
    """Three parameters, laws that cells are not made for, and a logistic one beside a box."""
    optimum = {name: np.zeros(prior.shape()) for name, prior in model.priors().items()}
    assert oracle_for(Problem("other", with_priors(model, **changed), optimum)) is None


def test_half_normal_priors_are_sampled_in_real_coordinates():
    model = with_priors(LinearRegression(), w=Prior(dist.HalfNormal, (1.0,)))
    draw = target_of(model).sample_prior(jax.random.key(0))
    assert np.all(np.asarray(unravelled(model, draw)["w"]) > 0)
    assert np.any(np.asarray(draw) < 0)


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        (dist.Laplace, (0.5, -2.0), r"Laplace\(0.5, -2.0\): .*scale in Positive"),
        (dist.Laplace, (np.nan, 1.0), r"Laplace\(nan, 1.0\): .*loc in Real"),
        (dist.Laplace, (0.0, np.inf), r"Laplace\(0.0, inf\): arguments must be finite"),
        (dist.Laplace, (0.0, 1.0, 2.0, 3.0), r"Laplace\(0.0, 1.0, 2.0, 3.0\): .*allowed: loc in"),
        (dist.Laplace, ("a",), r"Laplace\('a',\): "),
    ],
)
def test_impossible_arguments_are_refused(family, arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        Prior(family, arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "prior", "message"),
    [
        ("c", LAPLACE, "parameters c: choose from a, b"),
        ("a", Prior(dist.BernoulliProbs, (0.5,)), r"Bernoulli.*continuous distributions of a num"),
        ("a", Prior(dist.MultivariateNormal, (np.zeros(2), np.eye(2))), "of a number"),
    ],
)
def test_impossible_priors_are_refused(name, prior, message):
    with pytest.raises(ValueError, match=message):
        with_priors(TanhNet(hidden_dim=2), **{name: prior})
