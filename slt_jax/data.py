"""Data sets of a problem and their statistics, at any n and for any number of replicates.

Datum i of replicate r depends on (key, r, i) alone: a data set of size n is the beginning of
the one of size n + 1, whatever the batch, the grid of n or the machine.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.model import FeatureRegression, Model
from slt_jax.problem import Problem, require_problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.run.devices import refuse_beyond_memory
from slt_jax.run.precision import in_default_precision, in_float64
from slt_jax.shapes import datum_of
from slt_jax.statistics import Data, Params, RegressionStatistics, Statistics
from slt_jax.validation import (
    LARGEST_SIMULATED,
    Count,
    SimulatedSize,
    Within,
    check,
    check_key,
    check_kind,
    checked,
    increasing,
    real_array,
    refuse_first,
)

S = TypeVar("S", bound=Statistics)

CHUNK = 4096


@in_float64
def simulate(problem: Problem, key: Array, n: int, start: int = 0) -> Data:
    """Draw data ``start`` to ``start + n`` of the data set that ``key`` stands for.

    Returns Data with leading axis n, in float64. Raises ValueError unless n is an integer ≥ 1,
    ``start`` an integer ≥ 0, which end at datum 2³² and fit into memory, and ``key`` one key, and
    for a problem that ``shapes.datum_of`` refuses.

    >>> import jax
    >>> from slt_jax import named_problems, simulate
    >>> data = simulate(named_problems()["linear_3"], jax.random.key(0), n=100)
    >>> data.x.shape, data.y.shape
    ((100, 3), (100, 1))
    """
    datum_of(problem)
    check_key("key", key)
    check("n", n, SimulatedSize)
    check("start", start, Annotated[int, Within(0, LARGEST_SIMULATED - n)])
    refuse_unheld_data(problem, 1, n)
    return _simulate(problem, key, start, n)


def refuse_unheld_data(problem: Problem, num_replicates: int, n: int, copies: int = 1) -> None:
    """Refuse so many data sets of size n, each kept ``copies`` times, that no memory holds them.

    Raises ValueError with the size that they would have.
    """
    per_datum = sum(part.size * np.dtype(float).itemsize for part in datum_of(problem))
    sets = "1 data set" if num_replicates == 1 else f"{num_replicates} data sets"
    name = f"n = {n}: {sets} of {problem.name}"
    refuse_beyond_memory(name, float(per_datum) * n * num_replicates * copies)


def refuse_unheld_statistics(
    problem: Problem, num_replicates: int, sample_sizes: Sequence[int]
) -> None:
    """Refuse what ``statistics_along_n`` cannot hold, which are data without sufficient statistics.

    Raises ValueError as ``refuse_unheld_data`` does.
    """
    if not problem.model.statistics_are_additive:
        # Data of every size are padded to the largest one.
        refuse_unheld_data(problem, num_replicates, max(sample_sizes), 1 + len(sample_sizes))


def _simulated(problem: Problem, key: Array, start: Array | int, n: int) -> Data:
    indices = start + jnp.arange(n)
    return Data(*jax.vmap(lambda i: problem.simulate(jax.random.fold_in(key, i)))(indices))


def _simulated_each(problem: Problem, keys: Array, n: int) -> Data:
    """Draw the first n data of each replicate."""
    return jax.vmap(lambda key: _simulated(problem, key, 0, n))(keys)


def _statistics_of_chunk(
    problem: Problem, keys: Array, start: int, stop: int
) -> RegressionStatistics:
    """Reduce data start … stop − 1 (at most CHUNK of them) of every replicate to statistics."""
    weights = (start + jnp.arange(CHUNK) < stop).astype(float)
    optimum = in_default_precision(problem.optimum)

    def one(key: Array) -> Statistics:
        return problem.model.statistics(optimum, _simulated(problem, key, start, CHUNK), weights)

    return jax.lax.map(one, keys)


def validate_data(problem: Problem, data: Data) -> None:
    """Refuse data that the model cannot have produced.

    Raises ValueError for different lengths of x and y, for shapes that differ from what the
    problem simulates, for values that are masked, no real numbers, not finite, or outside the
    model's ``support``, naming the first offender, for anything but ``Data``, and for a problem
    that ``shapes.datum_of`` refuses. Parts may be lists, series, frames and arrays of any real
    type.
    """
    in_doubles(problem, data)


def in_doubles(problem: Problem, data: Data, name: str = "data", least: int = 0) -> Data:
    """Return the data as new float64 arrays of NumPy, or raise the ValueError of ``validate_data``.

    ``name`` is that of the argument, which must hold at ``least`` so many data. Data without an
    input, x = None, get one of shape [n, 0].
    """
    require_problem(problem)
    check_kind(name, data, Data, "Data(x, y)")
    given: Any = data
    if given.x is None:
        given = given._replace(x=np.zeros((*np.shape(given.y)[:1], 0)))
    parts: Any = [np.array(real_array(*part)) for part in zip(Data._fields, given, strict=True)]
    checked = Data(*parts)
    shapes = None if problem.model.knows_shapes else (parts[0].shape[1:], parts[1].shape[1:])
    datum = datum_of(problem, shapes)
    for part, values, expected in zip(Data._fields, checked, datum, strict=True):
        if values.ndim == 0 or values.shape[1:] != expected.shape:
            needed = f"(n, {', '.join(map(str, expected.shape))})".replace(", )", ",)")
            column = values.ndim == 1 and expected.shape == (1,)
            hint = f": {part}[:, None] has it" if column else ""
            raise ValueError(
                f"{part} has shape {values.shape}; {problem.name} needs {needed}{hint}"
            )
        refuse_first(part, np.asarray(values), np.isfinite(values), "data must be finite")
    if len(checked.x) != len(checked.y):
        raise ValueError(f"x has {len(checked.x)} data and y has {len(checked.y)}; they must agree")
    if len(checked.y) < least:
        raise ValueError(f"{name}: {len(checked.y)} data; must be ≥ {least}")
    problem.model.check_support(checked)
    return checked


def real_weights(weights: Any, n: int, name: str = "weights") -> np.ndarray:
    """Return one weight a_i per datum in float64, ones for None. ``name`` is the argument's.

    Raises ValueError for weights that are masked, no real numbers, not finite, or not of shape [n].
    """
    if weights is None:
        return np.ones(n)
    array = real_array(name, weights)
    if array.shape != (n,):
        raise ValueError(f"{name} have shape {array.shape}; they must be ({n},)")
    refuse_first(name, array, np.isfinite(array), "they must be finite")
    return array


@in_float64
def statistics_of(problem: Problem, data: Data, weights: Array | None = None) -> Statistics:
    """Reduce data with one weight a_i each (ones by default) to the model's statistics, in float64.

    Raises ValueError for data that ``validate_data`` refuses, for weights that are not finite or
    not of shape [n], for a problem without an optimum, and where the likelihood of the data at it
    is zero.

    >>> import jax
    >>> from slt_jax import named_problems, simulate, statistics_of
    >>> problem = named_problems()["linear_3"]
    >>> statistics_of(problem, simulate(problem, jax.random.key(0), n=100)).gram.shape  # Σ xxᵀ
    (3, 3)
    """
    require_problem(problem)
    problem.check_optimum()
    checked = in_doubles(problem, data)
    data = Data(*map(jnp.asarray, checked))
    weights = jnp.asarray(real_weights(weights, len(checked.y)))
    optimum = in_default_precision(problem.optimum)
    statistics = _on_host(compiled_statistics(problem.model, optimum, data, weights))
    if not np.isfinite(statistics.log_likelihood_at_optimum):
        raise ValueError(
            f"the log-likelihood of the data at the optimum of {problem.name} is "
            f"{statistics.log_likelihood_at_optimum}; must be finite: set the optimum to "
            "parameters at which every datum has a density"
        )
    return statistics


@in_float64
def statistics_along_n(
    problem: Problem, key: Array, num_replicates: int, sample_sizes: Sequence[int]
) -> list[Statistics]:
    """Simulate nested data sets and reduce them to statistics: one entry per n, in float64.

    Every array has the leading axis [replicate]. Sufficient statistics are accumulated chunk by
    chunk, so that memory does not grow with n and one program serves every n; for a model without
    them the data are padded to the largest n and weighted. Raises ValueError for sample sizes that
    are not increasing integers from 1 to 2³², for data that do not fit into memory, and for a
    problem that ``shapes.datum_of`` refuses.
    """
    datum_of(problem)
    problem.check_optimum()
    check_key("key", key)
    check("num_replicates", num_replicates, Count)
    sizes = list(map(int, increasing("sample_sizes", sample_sizes, SimulatedSize)))
    refuse_unheld_statistics(problem, num_replicates, sizes)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_replicates))
    if not problem.model.statistics_are_additive:
        return _padded_statistics(problem, keys, sizes)
    collected: list[Statistics] = []
    total = _chunk_statistics(problem, keys, 0, min(CHUNK, sizes[0]))
    start = min(CHUNK, sizes[0])
    for stop in sizes:
        while start < stop:
            part = _chunk_statistics(problem, keys, start, stop)
            total = jax.tree.map(jnp.add, total, part)._replace(optimum=total.optimum)
            start = min(start + CHUNK, stop)
        collected.append(_on_host(total))
    return collected


def _padded_statistics(problem: Problem, keys: Array, sizes: list[int]) -> list[Statistics]:
    largest = sizes[-1]
    data = _simulate_each(problem, keys, largest)
    weights = [(jnp.arange(largest) < n).astype(float) for n in sizes]
    return [_on_host(_weighted_statistics(problem, data, of_size)) for of_size in weights]


def _statistics_of_each(problem: Problem, data: Data, weights: Array) -> Statistics:
    """Reduce data sets [replicate, n] with the same weights [n] to statistics."""
    optimum = in_default_precision(problem.optimum)
    return jax.vmap(problem.model.statistics, (None, 0, None))(optimum, data, weights)


def _statistics_of_one(model: Model, optimum: Params, data: Data, weights: Array) -> Any:
    return model.statistics(optimum, data, weights)


compiled_statistics = jit_at_first_call(_statistics_of_one, static_argnums=(0,))
_simulate = jit_at_first_call(_simulated, static_argnums=(0, 3))
_simulate_each = jit_at_first_call(_simulated_each, static_argnums=(0, 2))
_chunk_statistics = jit_at_first_call(_statistics_of_chunk, static_argnums=(0,))
_weighted_statistics = jit_at_first_call(_statistics_of_each, static_argnums=(0,))


def _on_host(statistics: Any) -> Any:
    """Copy to NumPy arrays, which stay in float64 where JAX has 64-bit types switched off."""
    return jax.tree.map(np.asarray, statistics)


def is_designable(problem: Problem) -> bool:
    """True for a realisable Gaussian regression, which ``fixed_design_statistics`` asks for."""
    return isinstance(problem.model, FeatureRegression) and problem.realisable


@in_float64
def fixed_design_statistics(
    problem: Problem, key: Array, num_replicates: int, sample_sizes: Sequence[int]
) -> list[RegressionStatistics]:
    """Draw statistics at any n on one design of CHUNK inputs, repeated n/CHUNK times.

    Given the inputs, U = Σ φ(y − f₀)ᵀ is exactly N(0, σ²M), so that n = 10⁹ costs as much as
    n = 10. Replicate r has the same standardised noise at every n: differences along n then vary
    far less between replicates than those of nested data. ``log_likelihood_at_optimum`` is set to
    its expectation. Raises ValueError for a problem that is no realisable Gaussian regression, and
    for sample sizes that are no integers ≥ 1.
    """
    datum_of(problem)
    check_key("key", key)
    check("num_replicates", num_replicates, Count)
    sizes = [int(checked(f"sample_sizes[{i}]", n, Count)) for i, n in enumerate(sample_sizes)]
    model = problem.model
    if not (isinstance(model, FeatureRegression) and is_designable(problem)):
        raise ValueError(f"{problem.name}: a fixed design needs a realisable Gaussian regression")
    design_key, noise_key = jax.random.split(key)
    one = jax.tree.map(lambda leaf: leaf[0], _chunk_statistics(problem, design_key[None], 0, CHUNK))
    gram = one.gram / CHUNK
    values, vectors = jnp.linalg.eigh(gram)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0.0))
    noise = jax.random.normal(noise_key, (num_replicates, *one.cross.shape))
    outputs = one.cross.shape[1]
    per_datum = -0.5 * outputs * (1 + math.log(2 * math.pi * model.noise**2))

    def of_size(n: int) -> RegressionStatistics:
        batch = RegressionStatistics(
            gram=n * gram,
            cross=jnp.zeros_like(one.cross),
            optimum=one.optimum,
            log_likelihood_at_optimum=jnp.asarray(n * per_datum),
        )
        batch = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (num_replicates, *leaf.shape)), batch
        )
        return batch._replace(cross=model.noise * math.sqrt(n) * (root @ noise))

    return [_on_host(of_size(n)) for n in sizes]


def scaled(statistics: S, beta: Array | float) -> S:
    """Return the statistics with every datum's weight multiplied by β."""
    return statistics.scaled(beta)
