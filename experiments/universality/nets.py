"""λ(n) of nets with one hidden layer, and how well their best one fits.

The output weights and a constant are integrated out in closed form, and the hidden weights are
drawn from their prior, the same draws for all targets and noises: one program for each class.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.run.precision import in_float64

from .pool import Design, Floats, activation

BLOCK = 128
# Reach of the quadrature in standard deviations of the prior.
REACH = 6.0


class Moments(NamedTuple):
    """Means over D draws, for each data set: log mean weight, log mean of its square, and λ(n).

    The weight is the evidence of the linear block. ``coefficient`` is the weighted mean of its
    λ(n); the effective number of draws is D exp(2·log_weight − log_square).
    """

    log_weight: Any
    log_square: Any
    coefficient: Any


@in_float64
def prior_sampled(
    name: str,
    key: Array,
    values: Floats,
    noise: Floats,
    design: Design,
    n: float,
    scale: float,
    units: int,
    draws: int,
) -> Moments:
    """Average over draws of the hidden weights, for targets [T, J] and noises ±z [noise, J].

    Returns NumPy arrays [sign, T, noise], λ(n) relative to the target.
    """
    arrays = _arrays(values, noise, design, n, scale)
    return _averaged(name, units, -(-draws // BLOCK), key, jnp.zeros((), int), *arrays)


@in_float64
def one_unit_integrated(
    name: str, values: Floats, noise: Floats, design: Design, n: float, scale: float, nodes: int
) -> Moments:
    """Integrate over the two hidden weights of one unit on a grid of nodes², by the trapezoid rule.

    All is as in ``prior_sampled`` but ``log_square``, which says nothing here.
    """
    arrays = _arrays(values, noise, design, n, scale)
    key = jax.random.key(0)
    return _averaged(name, 1, -(-(nodes**2) // BLOCK), key, jnp.asarray(nodes), *arrays)


def _arrays(
    values: Floats, noise: Floats, design: Design, n: float, scale: float
) -> tuple[Array, ...]:
    """Return the prior's scale and what ``_block`` takes beside hidden weights, as JAX arrays."""
    root = np.sqrt(n * design.weight)
    arrays = (scale, scale * root, design.x, values * root, noise)
    return tuple(jnp.asarray(each) for each in arrays)


def _averaged(name: str, units: int, blocks: int, *arrays: Array) -> Moments:
    return Moments(*(np.asarray(leaf) for leaf in _program(name, units, blocks, *arrays)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _program(
    name: str, units: int, blocks: Array, key: Array, nodes: Array, scale: Array, *arrays: Array
) -> Moments:
    """Average over draws of the prior or, where ``nodes`` are given, over a grid of nodes².

    Both are one program, which takes seconds to compile.
    """
    step = 2 * REACH / (nodes - 1)
    # Relative to a mean over all points of the blocks.
    log_cell = 2 * jnp.log(jnp.abs(step)) - math.log(2 * math.pi) + jnp.log(blocks * BLOCK)

    def draw(index: Array) -> tuple[Array, Array]:
        normals = jax.random.normal(jax.random.fold_in(key, index), (2, units, BLOCK))
        place = index * BLOCK + jnp.arange(BLOCK)
        side = jnp.maximum(nodes, 1)
        point = jnp.stack([place // side, place % side]) * step - REACH
        log_mass = jnp.where(place < nodes**2, log_cell - 0.5 * jnp.sum(point**2, axis=0), -jnp.inf)
        on_grid = nodes > 0
        drawn = scale * jnp.where(on_grid, point[:, None], normals)
        return drawn, jnp.where(on_grid, log_mass, 0.0)

    return _over_blocks(name, blocks, draw, arrays)


def _over_blocks(
    name: str,
    blocks: Array | int,
    draw: Callable[[Array], tuple[Array, Array]],
    arrays: tuple[Array, ...],
) -> Moments:
    """Add up blocks of hidden weights and log masses; sums are relative to the largest so far."""

    def add(index: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        top, total, squares, weighted = carry
        drawn, log_mass = draw(index)
        log_weight, coefficient = _block(name, drawn, *arrays)
        log_weight = log_weight + log_mass
        higher = jnp.maximum(top, jnp.max(log_weight, axis=-1))
        weight, shrunk = jnp.exp(log_weight - higher[..., None]), jnp.exp(top - higher)
        return (
            higher,
            total * shrunk + jnp.sum(weight, axis=-1),
            squares * shrunk**2 + jnp.sum(weight**2, axis=-1),
            weighted * shrunk + jnp.sum(weight * coefficient, axis=-1),
        )

    nothing = jnp.zeros((2, len(arrays[2]), len(arrays[3])))
    start = (nothing - jnp.inf, nothing, nothing, nothing)
    top, total, squares, weighted = jax.lax.fori_loop(0, blocks, add, start)
    count = jnp.log(blocks * BLOCK)
    return Moments(
        top + jnp.log(total) - count, 2 * top + jnp.log(squares) - count, weighted / total
    )


def _block(
    name: str, drawn: Array, root: Array, x: Array, targets: Array, noise: Array
) -> tuple[Array, Array]:
    """Compute log weights and λ(n) [sign, target, noise, draw] at hidden weights [2, H, draw].

    The formulae are those of ``conjugate.linear_block``. All that is quadratic in y = f* ± z is
    the sum of a term of the target, one of the noise and a product of both, so that the design is
    multiplied with each alone.
    """
    sigma = jnp.tanh if name == "tanh" else jax.nn.relu
    hidden = sigma(drawn[0][:, None] * x[:, None] + drawn[1][:, None])
    constant = jnp.ones((1, *hidden.shape[1:]), hidden.dtype)
    columns = list(root[:, None] * jnp.concatenate([hidden, constant]))
    lower, pivots = _factors(columns)
    white, solved = _solved(lower, pivots, columns)
    sources = jnp.concatenate([targets, noise])
    v = [sources @ column for column in white]
    m = [sources @ column for column in solved]
    count = len(targets)
    v_target, v_noise, v_both = _split(v, count)
    m_target, m_noise, m_both = _split(m, count)
    product = (targets @ noise.T)[..., None]
    size_target, size_noise = (jnp.sum(each**2, axis=1)[:, None] for each in (targets, noise))
    log_det = sum(jnp.log(d) for d in pivots)
    evidence = 0.5 * ((v_target - size_target)[:, None] + (v_noise - size_noise) - log_det)
    known = len(pivots) - _trace_of_inverse(lower, pivots)
    mean = 0.5 * ((size_target - m_target - v_target)[:, None] - m_noise + known)
    tilt, bend = v_both - product, 0.5 * (product - 2 * m_both - v_both)
    return jnp.stack([evidence + tilt, evidence - tilt]), jnp.stack([mean + bend, mean - bend])


def _split(parts: list[Array], count: int) -> tuple[Array, Array, Array]:
    """Return Σ of squares [target, draw] and [noise, draw] and of products [target, noise, draw].

    ``parts`` [source, draw] hold the targets first, ``count`` of them.
    """
    target, noise = [part[:count] for part in parts], [part[count:] for part in parts]
    both = sum(f[:, None] * z for f, z in zip(target, noise, strict=True))
    of_target, of_noise = (jnp.sum(jnp.stack(each) ** 2, axis=0) for each in (target, noise))
    return of_target, of_noise, jnp.asarray(both)


def _factors(columns: list[Array]) -> tuple[list[list[Array]], list[Array]]:
    """Factorise I + ΦᵀΦ into LDLᵀ for columns [J, draw]: L below its diagonal by rows, and D.

    Elimination is written on entries: a library factorises small matrices one by one.
    """
    size = len(columns)
    rest = [[jnp.sum(columns[i] * columns[j], axis=0) + (i == j) for j in range(i + 1)]
            for i in range(size)]  # fmt: skip
    lower: list[list[Array]] = [[] for _ in range(size)]
    for k in range(size):
        for i in range(k + 1, size):
            lower[i].append(rest[i][k] / rest[k][k])
            for j in range(k + 1, i + 1):
                rest[i][j] = rest[i][j] - lower[i][k] * rest[j][k]
    return lower, [rest[k][k] for k in range(size)]


def _solved(
    lower: list[list[Array]], pivots: list[Array], columns: list[Array]
) -> tuple[list[Array], list[Array]]:
    """Return the columns [J, draw] of ΦL⁻ᵀD^(−1/2) and of Φ(LDLᵀ)⁻¹."""
    size = len(columns)
    reduced: list[Array] = []
    for row, column in zip(lower, columns, strict=True):
        for entry, earlier in zip(row, reduced, strict=True):
            column = column - entry * earlier
        reduced.append(column)
    solution = [column / pivot for column, pivot in zip(reduced, pivots, strict=True)]
    for i in reversed(range(size)):
        for k in range(i + 1, size):
            solution[i] = solution[i] - lower[k][i] * solution[k]
    white = [column / jnp.sqrt(pivot) for column, pivot in zip(reduced, pivots, strict=True)]
    return white, solution


def _trace_of_inverse(lower: list[list[Array]], pivots: list[Array]) -> Array:
    """tr (LDLᵀ)⁻¹ = Σ (L⁻¹)²/D over all entries."""
    size, trace = len(pivots), jnp.zeros_like(pivots[0])
    for column in range(size):
        entries = {column: jnp.ones_like(pivots[0])}
        for i in range(column + 1, size):
            entries[i] = -jnp.asarray(sum(lower[i][k] * entries[k] for k in range(column, i)))
        trace = trace + sum(entry**2 / pivots[i] for i, entry in entries.items())
    return trace


def pooled(moments: Moments) -> Moments:
    """Join the moments of repeats [repeat, ...] with as many draws each."""
    logs = np.asarray(moments.log_weight)
    top = logs.max(axis=0)
    weight = np.exp(logs - top)
    squares = np.exp(np.asarray(moments.log_square) - 2 * top)
    return Moments(
        top + np.log(weight.mean(axis=0)),
        2 * top + np.log(squares.mean(axis=0)),
        np.sum(weight * np.asarray(moments.coefficient), axis=0) / weight.sum(axis=0),
    )


def best_error(
    name: str,
    target: Floats,
    design: Design,
    units: int,
    starts: int,
    enough: float,
    seed: tuple[int, ...],
    known: Floats | None = None,
) -> float:
    """Return the least root mean square error of a target [J] that a search finds.

    It ends at one below ``enough``. Starts are the ``known`` units [3, H], then units whose
    steepest places are evenly spaced, then random ones; the search is Levenberg's and Marquardt's.
    """
    from scipy.optimize import least_squares

    root, x, rng = np.sqrt(design.weight), design.x, np.random.default_rng(seed)

    def hidden(w: Floats) -> Floats:
        columns = activation(name, np.outer(x, w[:units]) + w[units : 2 * units])
        return np.column_stack([columns, np.ones_like(x)])

    def residual(w: Floats) -> Floats:
        return np.asarray(root * (hidden(w) @ w[2 * units :] - target))

    def jacobian(w: Floats) -> Floats:
        columns, a = hidden(w), w[2 * units : -1]
        slope = 1 - columns[:, :-1] ** 2 if name == "tanh" else np.sign(columns[:, :-1])
        by_b = slope * a * x[:, None]
        return np.asarray(root[:, None] * np.column_stack([by_b, slope * a, columns]))

    least = np.inf
    for start in range(starts + (known is not None)):
        if known is not None and start == 0:
            w = np.concatenate([known.ravel(), [0.0]])
        else:
            w = _started(name, units, start, rng)
            outer = np.linalg.lstsq(root[:, None] * hidden(w), root * target, rcond=1e-8)[0]
            w = np.concatenate([w, outer])
        fitted = least_squares(residual, w, jacobian, method="lm", max_nfev=400)
        least = min(least, float(np.sqrt(2 * fitted.cost)))
        if least < enough:
            break
    return least


def _started(name: str, units: int, start: int, rng: np.random.Generator) -> Floats:
    """Return hidden weights b, c [2H] to start from."""
    if start < 3:
        places = -1 + 2 * (np.arange(units) + 0.5) / units
        steepness = units if name == "tanh" else 1.0
        sign = (1.0, -1.0, 1.0)[start] * np.where(start == 2, (-1.0) ** np.arange(units), 1.0)
        return np.concatenate([sign * steepness, -sign * steepness * places])
    places = rng.uniform(-1.2, 1.2, units)
    b = np.exp(rng.normal(0.5, 1.0, units)) * rng.choice([-1.0, 1.0], units)
    return np.concatenate([b, -b * places])
