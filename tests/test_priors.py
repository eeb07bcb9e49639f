"""Parameters of any continuous prior have real coordinates, with a density that is theirs."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from scipy import stats

from slt_jax.curves.jobs import ravelled, target_of, unravelled
from slt_jax.model import Model
from slt_jax.models import named_problems
from slt_jax.priors import (
    constrained,
    coordinate_shapes,
    parameter_shapes,
    unconstrained,
    visited,
)
from slt_jax.problem import Problem
from slt_jax.shapes import datum_of

CORRELATED = np.array([[2.0, 0.5], [0.5, 1.0]])
PRIORS = {
    "box": dist.Uniform(np.array([-1.0, 2.0]), np.array([1.0, 5.0])),
    "cauchy": dist.Cauchy(0.0, 2.0).expand((2,)),
    "gamma": dist.Gamma(2.0, 3.0).expand((2, 1)),
    "half": dist.HalfNormal(1.5),
    "shares": dist.Dirichlet(np.array([0.5, 1.0, 2.0])),
    "ordered": dist.TransformedDistribution(
        dist.Normal(0.0, 1.0).expand((3,)).to_event(1), dist.transforms.OrderedTransform()
    ),
    "together": dist.MultivariateNormal(np.zeros(2), CORRELATED),
    "within": lambda params: dist.Uniform(0.0, 1.0 + params["half"]),
}
SIZES = {"box": 2, "cauchy": 2, "gamma": 2, "half": 1, "ordered": 3, "shares": 2, "together": 2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Any(Model):
    """y ~ N(0, 1), whatever the parameters."""

    def priors(self):
        return PRIORS

    def log_likelihood(self, params, x, y):
        return -0.5 * y**2

    def simulate(self, params, key):
        return jnp.zeros(0), jax.random.normal(key)


def test_coordinates_are_counted():
    assert coordinate_shapes(PRIORS)["within"] == ()
    sizes = {name: int(np.prod(shape)) for name, shape in coordinate_shapes(PRIORS).items()}
    assert sizes == SIZES | {"within": 1}
    assert list(sizes) == sorted(PRIORS)
    assert Any().dimension == 15
    assert parameter_shapes(PRIORS)["shares"] == (3,)


def test_there_and_back():
    with jax.enable_x64(True):
        params = Any().sample_prior(jax.random.key(0))
        u = ravelled(Any(), params)
        assert u.shape == (15,)
        chex.assert_trees_all_close(unravelled(Any(), u), params, rtol=1e-9)


@pytest.mark.parametrize("name", ["box", "half", "shares"])
def test_density_is_that_of_the_coordinates(name):
    """Its integral over the real space is one, whatever map leads there."""
    prior = PRIORS[name]
    priors = {name: prior}
    with jax.enable_x64(True):

        @jax.jit
        def density(u):
            params, log_jacobian = constrained(priors, u)
            return jnp.exp(jnp.sum(prior.log_prob(params[name])) + log_jacobian)

        size = int(np.prod(coordinate_shapes(priors)[name]))
        # Steps of a trapezoid rule that is spectrally accurate for analytic densities.
        axis = jnp.arange(-70.0, 70.0, 0.25)
        grid = jnp.stack(jnp.meshgrid(*[axis] * size, indexing="ij"), -1).reshape(-1, size)
        mass = float(jnp.sum(jax.vmap(density)(grid))) * 0.25**size
    assert mass == pytest.approx(1.0, abs=1e-6)


def test_density_by_hand():
    """u = log σ and logit v/(1 + σ) of a uniform law whose end depends on σ."""
    priors = {name: PRIORS[name] for name in ("half", "within")}
    sigma, v = 0.7, 0.4
    with jax.enable_x64(True):
        u = unconstrained(priors, {"half": sigma, "within": v})
        log_jacobian = float(constrained(priors, u)[1])
    np.testing.assert_allclose(u, [np.log(sigma), np.log(v / (1.7 - v))], rtol=1e-12)
    assert log_jacobian == pytest.approx(np.log(sigma) + np.log(v * (1.7 - v) / 1.7), rel=1e-12)


@pytest.mark.false_alarm(comparisons=2, probability=1e-6)
def test_prior_draws_are_mapped():
    """Draws of a target, back on their supports: Kolmogorov and Smirnov, 1e-6 each."""
    draw = jax.jit(lambda key: unravelled(Any(), target_of(Any()).sample_prior(key)))
    params = jax.vmap(draw)(jax.random.split(jax.random.key(1), 4000))
    half, within = (np.asarray(params[name], float) for name in ("half", "within"))
    assert stats.kstest(half, stats.halfnorm(0, 1.5).cdf).pvalue > 1e-6
    assert stats.kstest(within / (1 + half), "uniform").pvalue > 1e-6


def test_a_draw_on_the_edge_of_its_support_stays_finite():
    """Uniform draws of floats are 0 once in 2²⁴."""
    u = unconstrained({"w": dist.Uniform(-1, 1).expand((3,))}, {"w": jnp.array([-1.0, 1.0, 0.0])})
    np.testing.assert_allclose(u, [-15.94, 15.94, 0.0], atol=0.01)


def test_real_priors_add_nothing():
    """The map of all models of the package is the identity, of which no trace is left."""
    for problem in named_problems().values():
        priors = problem.model.priors()
        jaxpr = jax.make_jaxpr(lambda u, priors=priors: constrained(priors, u)[0])(
            jnp.zeros(problem.model.dimension)
        )
        assert {str(equation.primitive) for equation in jaxpr.eqns} <= {
            "slice", "reshape", "squeeze", "jit",
        }  # fmt: skip
        assert constrained(priors, jnp.zeros(problem.model.dimension))[1] is None


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (dist.Bernoulli(0.5), "prior of 'half', BernoulliProbs, is discrete: must be continuous"),
        (dist.Delta(0.0), "prior of 'half', Delta: must be a density with a total mass of one"),
        (
            dist.ImproperUniform(constraints.positive, (), ()),
            "prior of 'half', ImproperUniform: must be a density with a total mass of one",
        ),
        (1.5, "prior of 'half' is float: must be a distribution of numpyro"),
        (lambda params: 1.5, "prior of 'half' is float: must be a distribution of numpyro"),
        (
            dist.ProjectedNormal(np.array([1.0, 0.0])),
            "prior of 'half' has support Sphere(): must be one that numpyro's biject_to maps the "
            "real space to",
        ),
    ],
)
def test_other_priors_are_refused(prior, message):
    class Other(Any):
        def priors(self):
            return {"half": prior}

    problem = Problem("other", Other(), {"half": np.zeros(())})
    for door in (lambda: target_of(Other()), lambda: datum_of(problem), lambda: Other().dimension):
        with pytest.raises(ValueError) as error:
            door()
        assert str(error.value) == message
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("first", [True, False])
def test_a_number_beside_an_array_has_the_precision_of_each_caller(first: bool) -> None:
    """JAX keeps one program for numpyro's doubles, as of this scale, under both precisions."""
    jax.clear_caches()
    prior = {"w": dist.Normal(jnp.zeros(3), 1.0).to_event(1)}

    def log_prior(w: jax.Array) -> jax.Array:
        terms: list[jax.Array] = []

        def value_of(_: str, distribution: dist.Distribution) -> jax.Array:
            terms.append(distribution.log_prob(w))
            return w

        visited(prior, value_of)
        return jnp.sum(jnp.stack(terms))

    with jax.enable_x64(first):
        jax.jit(log_prior)(jnp.ones(3))
    with jax.enable_x64(not first):
        slope = jax.jit(jax.grad(log_prior))(jnp.ones(3))
    assert slope.dtype == (np.float32 if first else np.float64)
    np.testing.assert_array_equal(slope, -1.0)
