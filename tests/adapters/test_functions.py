"""A model of plain functions is the model that a class of the same formulas would be."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats

import slt_jax as slt


def log_likelihood(params, x, y):
    return dist.Normal(params["w"] ** 2 * x, 0.5).log_prob(y)


def simulate(params, key):
    key_x, key_y = jax.random.split(key)
    x = jax.random.normal(key_x)
    return x, params["w"] ** 2 * x + 0.5 * jax.random.normal(key_y)


PRIORS = {"w": dist.Uniform(-2, 2)}
MODEL = slt.define_model(log_likelihood, PRIORS)
SIMULATED = slt.define_model(log_likelihood, PRIORS, simulate)
X = np.linspace(-1, 1, 20)
DATA = slt.Data(X, np.tanh(X))


def test_the_evidence_is_the_integral():
    """One uniform parameter, of which the package knows nothing else, by scipy."""

    def likelihood(w: float) -> float:
        return float(np.exp(stats.norm(w**2 * X, 0.5).logpdf(DATA.y).sum())) / 4

    integral, error = integrate.quad(likelihood, -2, 2, points=[-1, 0, 1], epsabs=1e-12)
    exact = slt.exact(slt.Problem("square", MODEL, {"w": 1.0}), DATA).free_energy
    assert error < 1e-7 * integral
    assert abs(exact.value + np.log(integral)) < exact.error < 1e-4


def test_data_without_inputs():
    """x is None where it is given, and has shape [0] where the function meets it."""

    def of_y(params, x, y):
        return dist.Poisson(params["rate"]).log_prob(y) + jnp.sum(x)

    model = slt.define_model(of_y, {"rate": dist.HalfNormal(3.0)})
    problem = slt.Problem("counts", model, {"rate": 2.0})
    counts = np.array([0, 3, 1])
    statistics = slt.statistics_of(problem, slt.Data(None, counts))
    expected = stats.poisson(2.0).logpmf(counts).sum()
    assert float(statistics.log_likelihood_at_optimum) == pytest.approx(expected, rel=1e-6)
    assert statistics.data.x.shape == (3, 0)


def test_only_what_simulates_needs_to_simulate():
    data = slt.simulate(slt.Problem("square", SIMULATED, {"w": 1.0}), jax.random.key(0), 5)
    assert data.x.shape == data.y.shape == (5,)
    for problem in (
        slt.Problem("square", MODEL, {"w": 1.0}),
        slt.Problem("other", SIMULATED, {"w": 1.0}, truth=slt.Truth(MODEL, {"w": 1.0})),
    ):
        with pytest.raises(ValueError, match="^simulate = None: define_model must be given one"):
            slt.simulate(problem, jax.random.key(0), 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("p", PRIORS), r"log_likelihood = 'p': must be a function of \(params, x, y\)"),
        ((lambda w: 0.0, PRIORS), r"log_likelihood takes \(w\): must be a function of"),
        ((log_likelihood, {}), r"priors = {}: must be a dict of distributions by name"),
        ((log_likelihood, [dist.Normal()]), "must be a dict of distributions by name"),
        ((log_likelihood, {"w": 1.0}), "prior of 'w' is float: must be a distribution of numpyro"),
        ((log_likelihood, {"w": dist.Poisson(1.0)}), "prior of 'w', Poisson, is discrete"),
        ((log_likelihood, PRIORS, log_likelihood), r"simulate takes .* of \(params, key\)"),
    ],
)
def test_other_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        slt.define_model(*arguments)
    assert "\n" not in str(caught.value)


def test_a_likelihood_of_another_shape_is_refused_when_data_come():
    model = slt.define_model(lambda params, x, y: params["w"] * y, PRIORS)
    problem = slt.Problem("vector", model, {"w": 1.0})
    with pytest.raises(ValueError, match=r"log_likelihood returns shape \(1,\): must be \(\)"):
        slt.statistics_of(problem, slt.Data(X, X[:, None]))


def test_a_model_is_a_value():
    again = slt.define_model(log_likelihood, PRIORS)
    assert (again, hash(again)) == (MODEL, hash(MODEL))
    assert again != SIMULATED
