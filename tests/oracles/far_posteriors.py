"""Problems whose data may put the posterior anywhere, with log Z by integrals of their own.

Each log Z is an integral over at most two parameters by ``integral_by_boxes``, a sum of such
integrals, or has a closed form.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from scipy.special import gammaln, kve

from slt_jax.data import statistics_of
from slt_jax.models.deep_linear import DeepLinearNetwork
from slt_jax.models.linear import LinearRegression
from slt_jax.models.monomial import MonomialRegression
from slt_jax.models.normal_mixture import NormalMixture
from slt_jax.models.reduced_rank import ReducedRankRegression
from slt_jax.models.relu_net import ReluNet
from slt_jax.models.shallow_net import ShallowNet
from slt_jax.models.tanh_net import TanhNet
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.statistics import Data
from tests.oracles.integral_by_boxes import Integral, LogDensity, log_integral


def at_zero(name: str, model) -> Problem:
    return Problem(name, model, {key: np.zeros(p.shape()) for key, p in model.priors().items()})


def log_normal(w: np.ndarray, scale: float = 1.0) -> np.ndarray:
    return np.sum(-0.5 * (w / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi)), axis=-1)


def log_chi(r: np.ndarray, degrees: int) -> np.ndarray:
    with np.errstate(divide="ignore"):
        logs = (degrees - 1) * np.log(r) if degrees > 1 else 0.0
    return logs - r**2 / 2 - (degrees / 2 - 1) * np.log(2) - gammaln(degrees / 2)


# Log evidence of Gaussian noise about one feature, or about units, given what multiplies the block


class Case(NamedTuple):
    """A problem, data of which each counts ``copies`` times, and log Z of them."""

    problem: Problem
    data: Data
    copies: int
    exact: Callable[[], Integral]


def gaussian_log_evidence(design: np.ndarray, y: np.ndarray, copies: float, noise: float):
    """log ∫ N(a; 0, I) ∏ N(y_i; d_iᵀa, σ²)^copies da at designs [N, n, k] with y [n, q]."""
    d, y = np.asarray(design, np.longdouble), np.asarray(y, np.longdouble)
    factor = copies / np.longdouble(noise) ** 2
    gram = factor * np.einsum("mni,mnj->mij", d, d)
    score = factor * np.einsum("mni,nq->miq", d, y)
    squares = factor * np.sum(y**2)
    k = d.shape[2]
    log_det, quadratic = _eliminated(gram + np.eye(k), score)
    constant = copies * y.size * np.log(2 * np.pi * np.longdouble(noise) ** 2)
    outputs = y.shape[1]
    return np.asarray(0.5 * (quadratic - squares - outputs * log_det - constant), float)


def _eliminated(matrix, right):
    matrix, right = matrix.copy(), right.copy()
    log_det = np.zeros(len(matrix), np.longdouble)
    quadratic = np.zeros(len(matrix), np.longdouble)
    size = matrix.shape[1]
    for k in range(size):
        pivot = matrix[:, k, k]
        log_det += np.log(pivot)
        quadratic += np.sum(right[:, k] ** 2, axis=-1) / pivot
        for i in range(k + 1, size):
            ratio = matrix[:, i, k] / pivot
            matrix[:, i] -= ratio[:, None] * matrix[:, k]
            right[:, i] -= ratio[:, None] * right[:, k]
    return log_det, quadratic


def in_parts(function, places: np.ndarray, size: int) -> np.ndarray:
    step = max(1, 2_000_000 // size)
    parts = (places[start : start + step] for start in range(0, len(places), step))
    return np.concatenate([function(part) for part in parts])


def with_units(units, positive: tuple[bool, ...], log_prior: LogDensity):
    """Cases of models whose design at x [n, …] is ``units``(places [N, l], x) [N, n, k]."""

    def exact(problem: Problem, data: Data, copies: int):
        x, y = np.asarray(data.x), np.asarray(data.y)

        def log_density(places):
            def evidence(part):
                return gaussian_log_evidence(units(part, x), y, copies, problem.model.noise)

            return in_parts(evidence, places, len(y)) + log_prior(places)

        return log_integral(log_density, positive)

    return exact


def one_feature(place, x):
    """A product times x, of which one factor is the block."""
    return place[:, None, None] * x.reshape(1, -1, 1)


def half_log_normal(w: np.ndarray) -> np.ndarray:
    return log_normal(w) + w.shape[1] * np.log(2)


def powers_of_two(data_problem: Problem, data: Data, copies: int):
    """y = a²b²x: nothing is collapsed, and |ab| has the density 2K₀(t)/π."""
    x, y = np.asarray(data.x, np.longdouble), np.asarray(data.y, np.longdouble)[:, 0]
    noise = np.longdouble(data_problem.model.noise)
    sums = [copies * np.sum(part) for part in (x.ravel() ** 2, x.ravel() * y, y**2)]

    def log_density(places):
        t = places[:, 0]
        c = np.asarray(t, np.longdouble) ** 2
        squares = c**2 * sums[0] - 2 * c * sums[1] + sums[2]
        constant = copies * len(y) * np.log(2 * np.pi * noise**2)
        log_prior = np.log(2 / np.pi * kve(0, t)) - t
        return np.asarray(-0.5 * (squares / noise**2 + constant), float) + log_prior

    return log_integral(log_density, (True,))


def mixture(problem: Problem, data: Data, copies: int):
    y = np.asarray(data.y)

    def log_density(places):
        b, u = places[:, :1], places[:, 1:]
        small, large = -np.logaddexp(0, u), -np.logaddexp(0, -u)

        def likelihood(part):
            mean, log_rest, log_own = part[:, :1], part[:, 1:2], part[:, 2:]
            logs = np.logaddexp(log_rest - y**2 / 2, log_own - (y - mean) ** 2 / 2)
            return copies * np.sum(logs - 0.5 * np.log(2 * np.pi), axis=1)

        logs = in_parts(likelihood, np.column_stack([b, small, large]), len(y))
        return logs + log_normal(b) + (small + large)[:, 0]

    return log_integral(log_density, (False, False))


def linear(problem: Problem, data: Data, copies: int):
    x, y = np.asarray(data.x), np.asarray(data.y)
    return Integral(
        float(gaussian_log_evidence(x[None], y, copies, problem.model.noise)[0]), 1e-10, 0.0
    )


def relu_1(r, x):
    """One sign; the other is the same but for x → −x."""
    return (r * np.maximum(x, 0))[:, :, None]


def added(parts: list[Integral]) -> Integral:
    values, errors, farthest = zip(*parts, strict=True)
    return Integral(float(np.logaddexp.reduce(values)), max(errors), max(farthest))


def relu_one_unit(problem: Problem, data: Data, copies: int):
    one = with_units(relu_1, (True,), lambda r: half_log_normal(r) - np.log(2))
    return added([one(problem, Data(sign * data.x, data.y), copies) for sign in (1, -1)])


def relu_two_units(problem: Problem, data: Data, copies: int):
    """k of two units are positive, with probability 1/4, 1/2, 1/4; one of each sign share no x."""
    same = with_units(relu_1, (True,), lambda r: log_chi(r[:, 0], 2) - np.log(4))
    single = with_units(relu_1, (True,), half_log_normal)
    sides, halves = [], []
    for sign in (1, -1):
        x, own = sign * data.x, sign * data.x > 0
        sides.append(same(problem, Data(x, data.y), copies))
        halves.append(single(problem, Data(x[own], data.y[own]), copies))
    values, errors, farthest = zip(*halves, strict=True)
    mixed = Integral(sum(values) - np.log(2), sum(errors), max(farthest))
    return added([*sides, mixed])


def row_of_two(row, x):
    return np.einsum("mi,ni->mn", row, x)[:, :, None]


def net_units(activate, biased: bool):
    def units(places, x):
        if biased:
            return activate(places[:, :1] * x[:, 0] + places[:, 1:])[:, :, None]
        return activate(np.einsum("mi,ni->mn", places, x))[:, :, None]

    return units


def silu(z):
    with np.errstate(over="ignore"):
        return z / (1 + np.exp(-z))


def two_tanh(b, x):
    return np.tanh(b[:, None, :] * x[None, :, None])


KINDS = {
    "linear": (at_zero("linear", LinearRegression(input_dim=3)), linear),
    "abx": (
        at_zero("abx", MonomialRegression(exponents=(1, 1))),
        with_units(lambda w, x: one_feature(w[:, 0], x), (True,), half_log_normal),
    ),
    "abcx": (
        at_zero("abcx", MonomialRegression(exponents=(1, 1, 1))),
        with_units(lambda w, x: one_feature(np.prod(w, axis=1), x), (True,) * 2, half_log_normal),
    ),
    "aabx": (
        at_zero("aabx", MonomialRegression(exponents=(2, 1))),
        with_units(lambda w, x: one_feature(w[:, 0] ** 2, x), (True,), half_log_normal),
    ),
    "aabbx": (at_zero("aabbx", MonomialRegression(exponents=(2, 2))), powers_of_two),
    "relu_1": (at_zero("relu_1", ReluNet(hidden_dim=1)), relu_one_unit),
    "relu_2": (at_zero("relu_2", ReluNet(hidden_dim=2)), relu_two_units),
    "tanh_1": (
        at_zero("tanh_1", TanhNet(hidden_dim=1)),
        with_units(lambda b, x: two_tanh(b, x), (True,), half_log_normal),
    ),
    "tanh_2": (
        at_zero("tanh_2", TanhNet(hidden_dim=2)),
        with_units(two_tanh, (True, True), half_log_normal),
    ),
    "row": (
        at_zero("row", ReducedRankRegression(input_dim=2, output_dim=2, hidden_dim=1)),
        with_units(row_of_two, (False, False), log_normal),
    ),
    "column": (
        at_zero("column", ReducedRankRegression(input_dim=1, output_dim=2, hidden_dim=2)),
        with_units(lambda r, x: r[:, :1, None] * x[None], (True,), lambda r: log_chi(r[:, 0], 2)),
    ),
    "chain": (
        at_zero("chain", DeepLinearNetwork(widths=(1, 2, 2, 1))),
        with_units(
            lambda r, x: np.prod(r, axis=1)[:, None, None] * x[None],
            (True, True),
            lambda r: np.sum([log_chi(part, 2) for part in r.T], axis=0),
        ),
    ),
    "mixture": (at_zero("mixture", NormalMixture(first_mean_fixed=True)), mixture),
    "net_tanh": (
        at_zero("net_tanh", ShallowNet(hidden_dim=1, uniform_input=True)),
        with_units(net_units(np.tanh, False), (False,), log_normal),
    ),
    "net_tanh_2d": (
        at_zero("net_tanh_2d", ShallowNet(hidden_dim=1, input_dim=2)),
        with_units(net_units(np.tanh, False), (False, False), log_normal),
    ),
    "net_silu_biased": (
        at_zero("net_silu_biased", ShallowNet(hidden_dim=1, activation="silu", biases=True)),
        with_units(net_units(silu, True), (False, False), log_normal),
    ),
    "net_relu_biased": (
        at_zero("net_relu_biased", ShallowNet(hidden_dim=1, activation="relu", biases=True)),
        with_units(net_units(lambda z: np.maximum(z, 0), True), (False, False), log_normal),
    ),
}


def drawn(kind: str, seed: int) -> Case:
    """Data of any size, of a truth that the model has or has not, in any number."""
    problem, exact = KINDS[kind]
    rng = np.random.default_rng([seed, sum(map(ord, kind))])
    scale, n = 10 ** rng.uniform(-3, 4), round(10 ** rng.uniform(0, 6))
    copies = -(-n // 100)
    n = -(-n // copies)
    shapes = jax.eval_shape(problem.simulate, jax.random.key(0))
    x = rng.uniform(-1, 1, (n, *shapes[0].shape))
    first = x.reshape(n, -1)[:, 0] if x.size else rng.normal(size=n)
    truths = (np.sign(first), np.ones(n), np.tanh(2 * first), np.zeros(n), first)
    truth = truths[rng.integers(len(truths))] * scale
    noise = 10 ** rng.uniform(-2, 0) * scale
    y = np.reshape(truth, (n, *(1,) * len(shapes[1].shape))) + noise * rng.normal(
        size=(n, *shapes[1].shape)
    )
    return Case(problem, Data(x, y), copies, functools.partial(exact, problem, Data(x, y), copies))


def answer(case: Case) -> tuple[float, float]:
    """log Z of the oracle and its bound."""
    oracle = oracle_for(case.problem)
    statistics = statistics_of(
        case.problem, case.data, np.full(len(case.data.y), float(case.copies))
    )
    exact = oracle.log_evidence(statistics)
    at_optimum = float(statistics.log_likelihood_at_optimum)
    # Two numbers of the size of log Z are added here, each of which is rounded.
    rounding = 4 * np.finfo(float).eps * abs(at_optimum)
    return float(exact.value) + at_optimum, float(exact.error) + rounding
