"""Sums over data that do not visit the data: the right numbers, in float32 too, at the right cost.

The plain sum Σ a_i (ℓ_i(w) − ℓ_i(w₀)) of ``log_likelihood`` in float64 is what every model's own
way of summing is compared with; costs are read off the programs, which are not run.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from slt_jax import model as model_module
from slt_jax.adapters.numpyro_model import NumpyroModel
from slt_jax.data import simulate, statistics_of
from slt_jax.model import SUMMED_AT_ONCE, FeatureRegression, Model, Regression
from slt_jax.models import named_problems
from slt_jax.models.relu_net import BiasedReluNet, SortedStatistics
from slt_jax.models.tanh_net import TanhNet
from slt_jax.problem import Problem
from slt_jax.statistics import Data, Params, WeightedData, quadratic_form

MILLION = 1_000_000
SEVEN = jax.random.key(7)
EPS = np.finfo(float).eps


@dataclasses.dataclass(frozen=True)
class WideNet(Regression):
    """f(x) = Σ_h a_h tanh(b_h x): without statistics, and with many values per datum."""

    hidden_dim: int = 1

    def priors(self):
        weight = dist.Normal(0.0, 1.0).expand((self.hidden_dim,))
        return {"a": weight, "b": weight}

    def sample_input(self, key):
        return jax.random.normal(key, ())

    def predict(self, params, x):
        return jnp.sum(params["a"] * jnp.tanh(params["b"] * x), keepdims=True)


PROBLEMS = named_problems()
PLAIN = Problem("plain", WideNet(), {"a": np.array([1.0]), "b": np.array([-0.5])})
RELU = PROBLEMS["relu_biased_2_teacher_1"]
FAMILIES = {type(problem.model): problem for problem in PROBLEMS.values()}


def points(problem: Problem, scales: tuple[float, ...]) -> Params:
    """w₀, then w₀ plus standard normals times each of the scales; float64.

    For TanhNet |b| ≤ 2, up to which its interpolation error is below rounding.
    """
    rng = np.random.default_rng(1)
    stacked = {}
    for name, leaf in problem.optimum.items():
        noise = rng.standard_normal((len(scales) + 1, *np.shape(leaf)))
        stacked[name] = leaf + noise * np.reshape((0.0, *scales), (-1, *np.ndim(leaf) * (1,)))
    if isinstance(problem.model, TanhNet):
        stacked["b"] = np.clip(stacked["b"], -2, 2)
    return stacked


# Programs that run once are compiled in the least time.
once = functools.partial(
    jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0}
)


@once
def own_sums(model: Model, params, optimum, data: Data, weights):
    """Ratios and gradients as the model sums them, leading axes [weights, point]."""
    value_and_slope = jax.vmap(jax.value_and_grad(model.log_likelihood_ratio), (0, None))
    return jax.vmap(lambda a: value_and_slope(params, model.statistics(optimum, data, a)))(weights)


@once
def each_term(model: Model, params, data: Data):
    """ℓ_i(w) and its gradient, leading axes [point, n]."""
    over_data = jax.vmap(jax.value_and_grad(model.log_likelihood), (None, 0, 0))
    return jax.vmap(over_data, (0, None, None))(params, *data)


def assert_sums_are_plain(problem: Problem, data: Data, weights: np.ndarray) -> None:
    """Ratios and gradients to 100 roundings of the sum of moduli, for each row of weights."""
    params = points(problem, (0.01, 0.3, 1.0))
    with jax.enable_x64(True):
        optimum = jax.tree.map(jnp.asarray, dict(problem.optimum))
        own = own_sums(problem.model, params, optimum, data, weights)
        each = each_term(problem.model, params, data)
    (sums, slopes), (terms, term_slopes) = jax.tree.map(np.asarray, (own, each))
    assert_close(sums, weights @ (terms - terms[0]).T, weights @ (abs(terms) + abs(terms[0])).T)
    moduli = sum(np.sum(abs(s), axis=tuple(range(2, s.ndim))) for s in term_slopes.values())
    total = weights @ moduli.T
    for name, slope in slopes.items():
        plain = np.einsum("wn,pn...->wp...", weights, term_slopes[name])
        assert_close(slope, plain, np.reshape(total, (*total.shape, *(slope.ndim - 2) * (1,))))


def assert_close(actual, expected, size) -> None:
    assert np.all(np.abs(actual - expected) <= 100 * EPS * (size + 1))


@pytest.mark.parametrize("problem", [*FAMILIES.values(), PLAIN], ids=lambda p: p.name)
def test_sum_and_gradient_are_the_plain_ones(problem):
    """At n = 1000 with random weights, some of them zero, and with one and two data present."""
    n = 1000
    rng = np.random.default_rng(2)
    weights = rng.uniform(0, 2, (3, n)) * (rng.uniform(size=n) < 0.8)
    weights[1:] *= np.arange(n) == 3
    weights[2, 4] = 1.5
    assert weights[1].sum() > 0
    assert_sums_are_plain(problem, simulate(problem, SEVEN, n), weights)


@pytest.mark.parametrize("problem", [RELU, PLAIN], ids=lambda p: p.name)
def test_one_datum_is_enough(problem):
    assert_sums_are_plain(problem, simulate(problem, SEVEN, 1), np.ones((1, 1)))


@pytest.mark.parametrize("extra", [1, SUMMED_AT_ONCE])
def test_sum_by_chunks_is_the_plain_sum(extra):
    """With a remainder and without; a single chunk needs no loop, which is tested below."""
    n = SUMMED_AT_ONCE + extra
    rng = np.random.default_rng(3)
    data = Data(rng.standard_normal(n), rng.standard_normal((n, 1)))
    assert_sums_are_plain(PLAIN, data, rng.uniform(0, 2, (1, n)))


def test_reference_by_chunks_is_the_plain_sum():
    """Also where the data do not fill the last chunk."""
    data = simulate(PLAIN, SEVEN, SUMMED_AT_ONCE + 5)
    with jax.enable_x64(True):
        terms, _ = each_term(PLAIN.model, points(PLAIN, ()), data)
    np.testing.assert_allclose(
        statistics_of(PLAIN, data).log_likelihood_at_optimum, np.sum(np.asarray(terms)), rtol=1e-13
    )


# --- float32 ---------------------------------------------------------------------------------


def in_float32(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)


@functools.partial(jax.jit, static_argnums=0)
def ratios(model: Model, params, statistics):
    return jax.lax.map(lambda w: model.log_likelihood_ratio(w, statistics), params)


def errors_in_float32(problem: Problem, statistics, params) -> tuple[np.ndarray, np.ndarray]:
    """Sums in float64 at float32 parameters, and by how much those in float32 differ."""
    single = in_float32(params)
    actual = np.asarray(ratios(problem.model, single, in_float32(statistics)), float)
    with jax.enable_x64(True):
        exact = np.asarray(ratios(problem.model, jax.tree.map(np.float64, single), statistics))
    return exact, actual - exact


@functools.cache
def statistics_of_a_million(problem: Problem):
    return statistics_of(problem, simulate(problem, SEVEN, MILLION))


# Distances from w₀ that posteriors have at n = 10⁶: n δ²/2 is from 2 to 32 nats.
POSTERIOR = (0.002, 0.004, 0.008) * 2


@pytest.mark.parametrize(
    "problem", [pytest.param(RELU, marks=pytest.mark.slow), PLAIN], ids=lambda p: p.name
)
def test_float32_keeps_its_digits_at_a_million_data(problem):
    """Within 0.001 nats where the posterior is; plain float32 sums are rounded at 0.1."""
    statistics = statistics_of_a_million(problem)
    exact, error = errors_in_float32(problem, statistics, points(problem, POSTERIOR))
    assert 3 < np.max(np.abs(exact)) < 100
    assert np.max(np.abs(error)) < 0.001


def test_sums_that_are_not_split_lose_digits():
    """The control: sorted sums rounded to float32, without their remainders."""
    statistics = statistics_of_a_million(RELU)
    rounded = np.where(np.array([True, False])[:, None], statistics.moments, 0.0)
    exact = ratios_in_float64(statistics)
    lost = ratios_in_float64(statistics._replace(moments=rounded))
    assert np.max(np.abs(lost - exact)) > 0.005


def ratios_in_float64(statistics: SortedStatistics) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(ratios(RELU.model, points(RELU, POSTERIOR), statistics))


# --- cost ------------------------------------------------------------------------------------


def equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """All equations that hold no other ones, at any depth."""
    for equation in jaxpr.eqns:
        leaves = jax.tree.leaves(list(equation.params.values()), is_leaf=is_jaxpr)
        inner = [leaf for leaf in leaves if is_jaxpr(leaf)]
        for sub in inner:
            yield from equations(sub.jaxpr if isinstance(sub, ClosedJaxpr) else sub)
        if not inner:
            yield equation


def is_jaxpr(value: object) -> bool:
    return isinstance(value, (Jaxpr, ClosedJaxpr))


def visits(function, *arguments, n: int) -> set[str]:
    """Names of the operations that read or make n numbers or more; lookups only read."""
    program = jax.make_jaxpr(function)(*arguments)

    def size(values) -> int:
        return max((v.aval.size for v in values if not isinstance(v, Literal)), default=0)

    return {
        equation.primitive.name
        for equation in equations(program.jaxpr)
        if size(equation.outvars) >= n
        or (size(equation.invars) >= n and equation.primitive.name != "gather")
    }


def shapes(problem: Problem, n: int, chains: int | None = None):
    """Parameters (of several chains) and statistics of n data as shapes, in float32."""

    def both(x, y):
        optimum = {name: jnp.asarray(leaf, jnp.float32) for name, leaf in problem.optimum.items()}
        return optimum, problem.model.statistics(optimum, Data(x, y), jnp.ones(n))

    datum = jax.eval_shape(problem.simulate, jax.random.key(0))
    params, statistics = jax.eval_shape(
        both, *(jax.ShapeDtypeStruct((n, *part.shape), jnp.float32) for part in datum)
    )
    if chains is not None:
        params = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((chains, *leaf.shape), leaf.dtype), params
        )
    return params, statistics


def gradients(problem: Problem):
    """Ratios and gradients of a batch of chains on one statistics."""
    return jax.vmap(jax.value_and_grad(problem.model.log_likelihood_ratio), (0, None))


@pytest.mark.parametrize(
    "problem",
    [p for p in PROBLEMS.values() if isinstance(p.model, FeatureRegression)],
    ids=lambda p: p.name,
)
def test_statistics_make_one_program_of_every_n(problem):
    assert shapes(problem, 10) == shapes(problem, 100_000)


def test_sorted_sums_only_look_data_up():
    """No operation of a gradient is of size n, and a search takes log₂ n steps."""
    n = 2**20
    arguments = shapes(RELU, n, chains=8)
    assert isinstance(arguments[1], SortedStatistics)
    assert visits(gradients(RELU), *arguments, n=n) == set()
    program = str(jax.make_jaxpr(gradients(RELU))(*arguments))
    lengths = [int(part.split()[0]) for part in program.split("length=")[1:]]
    assert max(lengths) <= math.log2(n) + 1


def test_a_sum_over_data_is_noticed():
    """The control of the test above: the same net without its statistics."""

    @dataclasses.dataclass(frozen=True)
    class Unsorted(BiasedReluNet):
        statistics = Model.statistics
        log_likelihood_ratio = Model.log_likelihood_ratio

    problem = Problem("unsorted", Unsorted(), RELU.optimum)
    n = 1000
    assert visits(gradients(problem), *shapes(problem, n, chains=8), n=n) >= {"max", "mul"}


def temporary_bytes(problem: Problem, n: int, chains: int) -> int:
    """Return the memory of a compiled gradient beside arguments and results; nothing is run."""
    program = jax.jit(gradients(problem)).lower(*shapes(problem, n, chains))
    return program.compile().memory_analysis().temp_size_in_bytes


def test_sorted_sums_are_not_copied():
    """The compiled program neither: it holds less than one number per datum."""
    assert temporary_bytes(RELU, MILLION, chains=8) < MILLION


def test_memory_of_a_gradient_is_bounded(monkeypatch):
    """At n = 10⁷ less than one number per datum, though the net has 16 hidden values for each.

    The control sums all at once.
    """
    problem = Problem("wide", WideNet(hidden_dim=16), {"a": np.zeros(16), "b": np.zeros(16)})
    bounded = temporary_bytes(problem, 10 * MILLION, chains=2)
    assert bounded < 4 * 10 * MILLION
    assert bounded <= 1.1 * temporary_bytes(problem, 3 * SUMMED_AT_ONCE, chains=2)
    monkeypatch.setattr(model_module, "SUMMED_AT_ONCE", 10 * MILLION)
    assert temporary_bytes(problem, 10 * MILLION, chains=2) > 10 * bounded


def test_few_data_are_summed_without_a_loop():
    params, statistics = shapes(PLAIN, SUMMED_AT_ONCE)
    assert isinstance(statistics, WeightedData)
    program = jax.make_jaxpr(PLAIN.model.log_likelihood_ratio)(params, statistics)
    assert "scan" not in {equation.primitive.name for equation in program.eqns}


# --- short axes ------------------------------------------------------------------------------

CHAINS, SHORT_OF = 64, 128
# Operations of many cycles, which are not vectorised over a last axis of one.
COSTLY = {
    "exponential", "exponential-minus-one", "log", "log-plus-one", "tanh", "logistic", "power",
    "divide", "sqrt", "sine", "cosine", "erf",
}  # fmt: skip


def on_last_axes_of_one(problem: Problem) -> set[str]:
    """Operations of a compiled gradient, of 64 chains, on arrays [chain, datum, 1]."""
    program = jax.jit(gradients(problem)).lower(*shapes(problem, SHORT_OF, CHAINS)).compile()
    shape = rf"= f32\[{CHAINS},{SHORT_OF},1\]"
    return set(re.findall(rf"{shape}\S* ([a-z-]+)\(", program.as_text()))


def logistic(x, y=None):
    w = numpyro.sample("w", dist.Normal(0.0, 1.0).expand((2,)).to_event(1))
    with numpyro.plate("data", x.shape[0]):
        numpyro.sample("y", dist.Bernoulli(logits=x @ w), obs=y)


def two_inputs(key):
    return jax.random.normal(key, (2,))


class OneByOne(NumpyroModel):
    """The control: a model that is called with each datum apart."""

    log_likelihoods = Model.log_likelihoods


def numpyro_problem(family) -> Problem:
    model = family(function=logistic, sample_input=two_inputs)
    return Problem("logistic", model, {"w": np.array([1.0, -1.0])})


SUMMED = [p for p in PROBLEMS.values() if not p.model.statistics_are_additive]


@pytest.mark.parametrize("problem", SUMMED, ids=lambda p: p.name)
def test_nothing_costly_is_done_on_a_last_axis_of_one(problem):
    assert not on_last_axes_of_one(problem) & COSTLY


def test_a_numpyro_model_has_no_last_axis_of_one():
    """It has one where it is called with each datum apart, which takes up to 15 times as long."""
    assert on_last_axes_of_one(numpyro_problem(NumpyroModel)) == set()
    assert on_last_axes_of_one(numpyro_problem(OneByOne)) & COSTLY


@pytest.mark.parametrize("shape", [(3,), (12,), (12, 2), (20, 2)])
def test_derivatives_of_the_quadratic_form(shape):
    keys = jax.random.split(jax.random.key(0), 6)
    square = (shape[0], shape[0])
    sizes = (shape, shape, shape, shape, square, square)
    *point, gram, gram_dot = map(jax.random.normal, keys, sizes)
    delta, cross, delta_dot, cross_dot = point
    primals = delta, gram + gram.T, cross
    tangents = delta_dot, gram_dot + gram_dot.T, cross_dot

    def plain(delta, gram, cross):
        return jnp.sum(delta * (jnp.tensordot(gram, delta, 1) - 2 * cross))

    expected, actual = (jax.jvp(f, primals, tangents) for f in (plain, quadratic_form))
    np.testing.assert_allclose(actual, expected, rtol=1e-4)
    curvature = jax.hessian(quadratic_form)(*primals).reshape(delta.size, delta.size)
    each = np.eye(delta.size // shape[0])
    np.testing.assert_allclose(curvature, 2 * np.kron(primals[1], each), rtol=1e-5)
