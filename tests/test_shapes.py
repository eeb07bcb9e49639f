"""A user's model that returns a wrong shape is refused before it meets data."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats

from slt_jax.data import fixed_design_statistics, simulate, statistics_along_n, statistics_of
from slt_jax.model import FeatureRegression, Model, Regression
from slt_jax.models.linear import LinearRegression
from slt_jax.models.reduced_rank import ReducedRankRegression
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem, Truth
from slt_jax.run.compilation import CompilationCounter
from slt_jax.shapes import datum_of
from slt_jax.statistics import Data

KEY = jax.random.key(0)
X, Y = np.array([0.5, -1.0, 2.0, 0.1]), np.array([[0.3], [-1.2], [1.0], [0.4]])


@dataclasses.dataclass(frozen=True)
class Line(Model):
    """y ~ N(wx, 1) of shape [1], whose density is written of that shape too if ``as_vector``."""

    as_vector: bool = False

    def priors(self):
        return {"w": dist.Normal(0.0, 1.0)}

    def log_likelihood(self, params, x, y):
        terms = -0.5 * (y - params["w"] * x) ** 2 - 0.5 * jnp.log(2 * jnp.pi)
        return terms if self.as_vector else terms[0]

    def simulate(self, params, key):
        key_x, key_y = jax.random.split(key)
        x = jax.random.normal(key_x)
        return x, params["w"] * x + jax.random.normal(key_y, (1,))


OPTIMUM = {"w": np.array(0.5)}
LINE, VECTOR = (Problem("line", Line(as_vector=v), OPTIMUM) for v in (False, True))


def log_evidence_by_sums(problem: Problem) -> float:
    """log Z of (X, Y) by the trapezoid rule in w, of the sum over data that samplers are given."""
    statistics = statistics_of(problem, Data(X, Y))
    w = np.linspace(-12, 12, 2001)
    with jax.enable_x64(True):
        of_w = jax.vmap(lambda v: problem.model.log_likelihood_ratio({"w": v}, statistics))
        log_density = (
            np.asarray(of_w(jnp.asarray(w)))
            + statistics.log_likelihood_at_optimum
            + stats.norm.logpdf(w)
        )
    return float(np.log(np.sum(np.exp(log_density)) * (w[1] - w[0])))


def exact_log_evidence() -> float:
    """log ∫ N(w; 0, 1) ∏ N(y_i; wx_i, 1) dw by scipy, from the formula."""

    def density(w):
        return stats.norm.pdf(w) * np.prod(stats.norm.pdf(Y[:, 0] - w * X))

    return float(np.log(integrate.quad(density, -12, 12, epsabs=1e-14, epsrel=1e-12)[0]))


def test_evidence_of_a_scalar_likelihood_is_that_of_the_formula():
    assert log_evidence_by_sums(LINE) == pytest.approx(exact_log_evidence(), abs=1e-9)


@pytest.mark.parametrize(
    "door",
    [
        lambda problem: statistics_of(problem, Data(X, Y)),
        lambda problem: simulate(problem, KEY, 3),
        lambda problem: statistics_along_n(problem, KEY, 2, (3,)),
        oracle_for,
    ],
)
def test_a_likelihood_of_shape_1_is_refused(door):
    """It would be summed over n × n pairs of a weight and a datum."""
    door(LINE)
    with pytest.raises(ValueError) as error:
        door(VECTOR)
    message = "Line.log_likelihood returns shape (1,): must be () for one datum"
    assert str(error.value) == message


@dataclasses.dataclass(frozen=True)
class Wide(Regression):
    """f of two outputs."""

    def priors(self):
        return {"w": dist.Normal(0.0, 1.0).expand((2,))}

    def sample_input(self, key):
        return jax.random.normal(key)

    def predict(self, params, x):
        return params["w"] * x


@dataclasses.dataclass(frozen=True)
class Features(FeatureRegression):
    """f(x) = w₁ + w₂x."""

    def priors(self):
        return {"w": dist.Normal(0.0, 1.0).expand((2,))}

    def sample_input(self, key):
        return jax.random.normal(key)

    def features(self, x):
        return jnp.stack([jnp.ones_like(x), x])

    def coefficients(self, params):
        return params["w"][:, None]


TWO = {"w": np.zeros(2)}


def changed(base, **methods):
    """A problem with a model of which some methods are others."""
    return Problem("changed", type(base.__name__, (base,), methods)(), TWO)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (changed(Wide, predict=lambda self, params, x: params["w"][0] * x), "predict.* ()"),
        (
            changed(Wide, predict=lambda self, params, x: jnp.outer(params["w"], params["w"])),
            r"predict.*\(2, 2\)",
        ),
        (
            changed(
                Wide, simulate=lambda self, params, key: (jax.random.normal(key), jnp.zeros(1))
            ),
            r"predict returns shape \(2,\): must be \(1,\)",
        ),
        (
            changed(Wide, simulate=lambda self, params, key: jax.random.normal(key)),
            "simulate returns .*two arrays",
        ),
        (
            changed(Wide, input_distribution=lambda self: dist.Normal(0.0, 1.0).expand((1,))),
            r"input_distribution returns shape \(1,\)",
        ),
        (changed(Wide, log_prior=lambda self, params: params["w"]), r"log_prior.*\(2,\)"),
        (
            changed(Wide, sample_prior=lambda self, key: {"w": jnp.zeros((2, 1))}),
            r"sample_prior\['w'\] has shape \(2, 1\)",
        ),
        (changed(Wide, entropy=lambda self, params: params["w"]), r"entropy.*\(2,\)"),
        (
            changed(Wide, log_likelihood_ratio=lambda self, params, statistics: statistics.weights),
            r"log_likelihood_ratio.*\(2,\)",
        ),
        (changed(Features, features=lambda self, x: jnp.zeros((2, 1))), r"features.*\(2, 1\)"),
        (
            changed(Features, coefficients=lambda self, params: params["w"]),
            r"coefficients returns shape \(2,\): must be \(2, 1\)",
        ),
        (
            Problem("twice", Wide(), TWO, optimal_set=lambda key: {"w": jnp.zeros(3)}),
            r"twice: optimal_set\['w'\] has shape \(3,\): must be \(2,\)",
        ),
    ],
)
def test_wrong_shapes_are_refused(problem, message):
    with pytest.raises(ValueError, match=message) as error:
        simulate(problem, KEY, 3)
    assert "\n" not in str(error.value)


def test_right_shapes_are_not():
    for base in (Wide, Features):
        assert datum_of(changed(base)).y.shape == datum_of(Problem("own", base(), TWO)).y.shape


LINEAR = LinearRegression(input_dim=2)
RANK = ReducedRankRegression(input_dim=2, output_dim=2, hidden_dim=1)


@pytest.mark.parametrize(
    ("optimum", "message"),
    [
        ({}, "p: (no truth is known|has no optimum|.* needs a realisable)"),
        ({"v": np.zeros(2)}, "p: optimum has v: must have w"),
        ({"w": np.zeros(2), "b": np.zeros(1)}, "p: optimum has w, b: must have w"),
        ({"w": np.zeros(3)}, r"p: optimum\['w'\] has shape \(3,\): must be \(2,\)"),
        ({"w": 0.0}, r"p: optimum\['w'\] has shape \(\): must be \(2,\)"),
    ],
)
@pytest.mark.parametrize(
    "door",
    [
        lambda problem: simulate(problem, KEY, 3),
        lambda problem: statistics_of(problem, Data(np.zeros((3, 2)), np.zeros((3, 1)))),
        lambda problem: statistics_along_n(problem, KEY, 1, (3,)),
        lambda problem: fixed_design_statistics(problem, KEY, 1, (3,)),
        oracle_for,
    ],
)
def test_an_optimum_that_is_no_parameter_is_refused(door, optimum, message):
    with pytest.raises(ValueError, match=message):
        door(Problem("p", LINEAR, optimum))


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (Truth(LINEAR, {"w": np.zeros(3)}), r"truth\['w'\] has shape \(3,\)"),
        (
            Truth(RANK, {"A": np.zeros((1, 2)), "B": np.zeros((2, 1))}),
            r"y has shape \(2,\) in the truth: must be \(1,\)",
        ),
    ],
)
def test_a_truth_of_other_data_is_refused(truth, message):
    with pytest.raises(ValueError, match=message):
        simulate(Problem("p", LINEAR, {"w": np.zeros(2)}, truth=truth), KEY, 3)


def test_checking_compiles_nothing_and_is_done_once(monkeypatch):
    problem = Problem("once", LinearRegression(input_dim=7), {"w": np.zeros(7)})
    with CompilationCounter() as counter:
        datum = datum_of(problem)
    assert not counter.counts
    assert (datum.x.shape, datum.y.shape) == ((7,), (1,))
    monkeypatch.setattr(LinearRegression, "simulate", None)
    assert datum_of(problem) is datum
    assert datum_of(Problem("equal", LinearRegression(input_dim=7), {"w": np.ones(7)})) is datum
