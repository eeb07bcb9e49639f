"""Another prior leaves a model what it was but for the prior, and a constant to compilers."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from slt_jax.adapters.priors import Prior, with_priors
from slt_jax.data import statistics_of
from slt_jax.models.linear import LinearRegression
from slt_jax.models.tanh_net import TanhNet
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.statistics import Data, RegressionStatistics

LAPLACE = Prior(dist.Laplace, (0.5, 2.0))
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
        ("a", Prior(dist.HalfNormal, (1.0,)), "real line"),
        ("a", Prior(dist.MultivariateNormal, (np.zeros(2), np.eye(2))), "real line"),
    ],
)
def test_impossible_priors_are_refused(name, prior, message):
    with pytest.raises(ValueError, match=message):
        with_priors(TanhNet(hidden_dim=2), **{name: prior})
