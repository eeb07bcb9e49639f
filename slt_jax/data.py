"""Data sets of a problem and their summaries, at any n and for any number of replicates.

Datum i of replicate r depends on (key, r, i) alone: a data set of size n is the beginning of
the one of size n + 1, whatever the batch, the grid of n or the machine.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.compilations import jit_at_first_call
from slt_jax.model import Data, FeatureRegression, FeatureSummary, Problem, Summary
from slt_jax.precision import in_float64

S = TypeVar("S", bound=Summary)

CHUNK = 4096


@in_float64
def simulate(problem: Problem, key: Array, n: int, start: int = 0) -> Data:
    """Data ``start`` to ``start + n`` of the data set that ``key`` stands for.

    Returns Data with leading axis n, in float64. Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"n = {n}: a data set needs n ≥ 1")
    return _simulate(problem, key, start, n)


def _simulated(problem: Problem, key: Array, start: Array | int, n: int) -> Data:
    indices = start + jnp.arange(n)
    return Data(*jax.vmap(lambda i: problem.simulate(jax.random.fold_in(key, i)))(indices))


def _simulated_each(problem: Problem, keys: Array, n: int) -> Data:
    """The first n data of each replicate."""
    return jax.vmap(lambda key: _simulated(problem, key, 0, n))(keys)


def _summary_of_chunk(problem: Problem, keys: Array, start: int, stop: int) -> FeatureSummary:
    """Sufficient statistics of data start … stop − 1 (at most CHUNK of them) of every replicate."""
    weights = (start + jnp.arange(CHUNK) < stop).astype(float)
    optimum = jax.tree.map(lambda leaf: leaf.astype(float), problem.optimum)

    def one(key: Array) -> Summary:
        return problem.model.summarise(optimum, _simulated(problem, key, start, CHUNK), weights)

    return jax.lax.map(one, keys)


def validate_data(problem: Problem, data: Data) -> None:
    """Refuse data that the model cannot have produced.

    Raises ValueError for different lengths of x and y, for shapes that differ from what the
    problem simulates, and for values that are not finite, naming the first offender.
    """
    example = jax.eval_shape(problem.simulate, jax.random.key(0))
    for name, values, expected in zip(("x", "y"), data, example, strict=True):
        if np.ndim(values) == 0 or np.shape(values)[1:] != expected.shape:
            raise ValueError(
                f"{name} has shape {np.shape(values)}; {problem.name} needs "
                f"(n, {', '.join(map(str, expected.shape))})".replace(", )", ",)")
            )
        bad = np.argwhere(~np.isfinite(np.asarray(values)))
        if bad.size:
            place = ", ".join(map(str, bad[0]))
            value = np.asarray(values)[tuple(bad[0])]
            raise ValueError(f"{name}[{place}] is {value}; data must be finite")
    if len(data.x) != len(data.y):
        raise ValueError(f"x has {len(data.x)} data and y has {len(data.y)}; they must agree")


@in_float64
def summarise(problem: Problem, data: Data, weights: Array | None = None) -> Summary:
    """Summary of given data with one weight a_i per datum (ones by default), in float64.

    Raises ValueError for data that ``validate_data`` refuses and for weights that are not
    finite or not of shape [n].
    """
    validate_data(problem, data)
    data = Data(*(jnp.asarray(part, float) for part in data))
    weights = jnp.ones(len(data.y)) if weights is None else jnp.asarray(weights, float)
    if weights.shape != (len(data.y),):
        raise ValueError(f"weights have shape {weights.shape}; they must be ({len(data.y)},)")
    bad = np.asarray(weights)[~np.isfinite(np.asarray(weights))]
    if bad.size:
        raise ValueError(f"weights hold {bad[0]}; they must be finite")
    optimum = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), problem.optimum)
    return _on_host(problem.model.summarise(optimum, data, weights))


@in_float64
def summaries_along_n(
    problem: Problem, key: Array, num_replicates: int, sample_sizes: Sequence[int]
) -> list[Summary]:
    """Summaries of nested data sets, one list entry per n, leading axis [replicate], float64.

    Sufficient statistics are accumulated chunk by chunk, so memory does not grow with n and one
    program serves every n; without them the data are padded to the largest n and weighted.
    Raises ValueError for sample sizes that are not increasing integers ≥ 1.
    """
    sizes = [int(n) for n in sample_sizes]
    if (
        sizes != list(sample_sizes)
        or not sizes
        or sizes[0] < 1
        or any(b <= a for a, b in zip(sizes, sizes[1:], strict=False))
    ):
        raise ValueError(f"sample sizes {tuple(sample_sizes)}: must be increasing integers ≥ 1")
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_replicates))
    if not problem.model.summary_is_additive:
        return _padded_summaries(problem, keys, sizes)
    collected: list[Summary] = []
    total = _chunk_summary(problem, keys, 0, min(CHUNK, sizes[0]))
    start = min(CHUNK, sizes[0])
    for stop in sizes:
        while start < stop:
            part = _chunk_summary(problem, keys, start, stop)
            total = jax.tree.map(jnp.add, total, part)._replace(origin=total.origin)
            start = min(start + CHUNK, stop)
        collected.append(_on_host(total))
    return collected


def _padded_summaries(problem: Problem, keys: Array, sizes: list[int]) -> list[Summary]:
    largest = sizes[-1]
    data = _simulate_each(problem, keys, largest)
    weights = [(jnp.arange(largest) < n).astype(float) for n in sizes]
    return [_on_host(_weighted_summary(problem, data, of_size)) for of_size in weights]


def _summary_of_each(problem: Problem, data: Data, weights: Array) -> Summary:
    """Summaries of the data sets [replicate, n] with the same weights [n]."""
    optimum = jax.tree.map(lambda leaf: leaf.astype(float), problem.optimum)
    return jax.vmap(problem.model.summarise, (None, 0, None))(optimum, data, weights)


_simulate = jit_at_first_call(_simulated, static_argnums=(0, 3))
_simulate_each = jit_at_first_call(_simulated_each, static_argnums=(0, 2))
_chunk_summary = jit_at_first_call(_summary_of_chunk, static_argnums=(0,))
_weighted_summary = jit_at_first_call(_summary_of_each, static_argnums=(0,))


def _on_host(summary: Any) -> Any:
    """As NumPy arrays, which keep their doubles also where JAX has 64-bit types switched off."""
    return jax.tree.map(np.asarray, summary)


def is_designable(problem: Problem) -> bool:
    """Whether ``designed_summaries`` can make data sets: a realisable Gaussian regression."""
    return isinstance(problem.model, FeatureRegression) and problem.realisable


@in_float64
def designed_summaries(
    problem: Problem, key: Array, num_replicates: int, sample_sizes: Sequence[int]
) -> list[FeatureSummary]:
    """Summaries of data sets of any n on one design of CHUNK inputs, repeated n/CHUNK times.

    Given the inputs, U = Σ φ(y − f₀)ᵀ is exactly N(0, σ²M), so that n = 10⁹ costs as much as
    n = 10. Replicate r has the same standardised noise at every n: differences along n then vary
    far less between replicates than those of nested data. ``reference`` is its expectation.
    Raises ValueError for a problem that is no realisable Gaussian regression.
    """
    model = problem.model
    if not (isinstance(model, FeatureRegression) and is_designable(problem)):
        raise ValueError(f"{problem.name}: a fixed design needs a realisable Gaussian regression")
    design_key, noise_key = jax.random.split(key)
    one = jax.tree.map(lambda leaf: leaf[0], _chunk_summary(problem, design_key[None], 0, CHUNK))
    gram = one.gram / CHUNK
    values, vectors = jnp.linalg.eigh(gram)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0.0))
    noise = jax.random.normal(noise_key, (num_replicates, *one.cross.shape))
    outputs = one.cross.shape[1]
    per_datum = -0.5 * outputs * (1 + math.log(2 * math.pi * model.noise**2))

    def of_size(n: int) -> FeatureSummary:
        batch = FeatureSummary(
            gram=n * gram,
            cross=jnp.zeros_like(one.cross),
            origin=one.origin,
            reference=jnp.asarray(n * per_datum),
        )
        batch = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (num_replicates, *leaf.shape)), batch
        )
        return batch._replace(cross=model.noise * math.sqrt(n) * (root @ noise))

    return [_on_host(of_size(int(n))) for n in sample_sizes]


def scaled(summary: S, beta: Array | float) -> S:
    """The summary with every datum's weight multiplied by β."""
    return summary.scaled(beta)
