"""Matrix products of a few entries and long sums, written so that compilers vectorise them.

A model writes the product of two small matrices, and ``vmap`` makes it a batch of them. Compilers
hand such a batch to a library, matrix by matrix, at a tenth of the speed and less: of 1024 pairs of
5 × 5 matrices a processor multiplies eleven times as many if the product is a sum of products,
which fuses with what stands around it. A sum over the last axis is one chain of additions, each of
which waits for the one before: in lanes that are added up at the end it runs at twice the speed.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

# Beyond, products of 1024 chains were no faster as sums, or slower: a library blocks them.
MOST_TERMS = 8
MOST_COLUMNS = 8
# Fewer than 64 rows of lanes were slower than no lanes; more lanes no faster.
LANES, LEAST_ROWS = 32, 64

Replacement = Callable[[JaxprEqn], Callable[..., Array] | None]


def with_sums_of_products(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function of arrays, whose small matrix products are sums of products.

    Results agree but for rounding. A product is small if its sum has at most 8 terms and it has at
    most 8 rows or at most 8 columns. Only products in the function itself are rewritten, and in
    what it calls: those in loops and under derivative rules of their own stay.

    >>> import jax, jax.numpy as jnp
    >>> f = with_sums_of_products(lambda a, b: jnp.sin(a @ b))
    >>> "dot_general" in str(jax.make_jaxpr(f)(jnp.ones((2, 3)), jnp.ones((3, 2))))
    False
    """
    return _rewritten(function, _product_as_sum)


def with_sums_in_lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function of arrays, whose long sums are made in 32 lanes.

    Results agree but for rounding. A sum is long if one of its axes has 2048 entries or more, a
    multiple of 32. Only sums in the function itself are rewritten, and in what it calls.

    >>> import jax.numpy as jnp
    >>> float(with_sums_in_lanes(jnp.sum)(jnp.ones(2048)))
    2048.0
    """
    return _rewritten(function, _sum_in_lanes)


def _rewritten(function: Callable[..., Any], replacement: Replacement) -> Callable[..., Any]:
    # Traced once for each set of shapes, however often samplers evaluate it.
    traced = jax.jit(function)

    def rewritten(*arguments: Any) -> Any:
        program, shapes = jax.make_jaxpr(traced, return_shape=True)(*arguments)
        leaves = jax.tree.leaves(arguments)
        results = _evaluate(program.jaxpr, program.consts, leaves, replacement)
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return rewritten


def _evaluate(
    program: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any], replacement: Replacement
) -> list[Any]:
    values = dict(zip(program.constvars, constants, strict=True))
    values |= zip(program.invars, arguments, strict=True)

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    def outputs(equation: JaxprEqn) -> Sequence[Any]:
        inputs = [read(variable) for variable in equation.invars]
        if equation.primitive.name == "jit":
            called = equation.params["jaxpr"]
            return _evaluate(called.jaxpr, called.consts, inputs, replacement)
        replaced = replacement(equation)
        return _unchanged(program, equation, inputs) if replaced is None else [replaced(*inputs)]

    for equation in program.eqns:
        values |= zip(equation.outvars, outputs(equation), strict=True)
    return [read(variable) for variable in program.outvars]


def _product_as_sum(equation: JaxprEqn) -> Callable[..., Array] | None:
    if equation.primitive is not lax.dot_general_p:
        return None
    product = _Product.of(equation)
    return product.as_sum if product.is_small else None


def _sum_in_lanes(equation: JaxprEqn) -> Callable[..., Array] | None:
    if equation.primitive is not lax.reduce_sum_p:
        return None
    terms: Any = equation.invars[0].aval
    shape, axes = terms.shape, equation.params["axes"]
    long = [i for i in axes if shape[i] >= LANES * LEAST_ROWS and shape[i] % LANES == 0]
    if not long:
        return None
    axis = long[0]
    split = (*shape[:axis], shape[axis] // LANES, LANES, *shape[axis + 1 :])
    in_lane = tuple(i + (i > axis) for i in axes)
    place = axis - sum(i < axis for i in axes)

    def in_lanes(values: Array) -> Array:
        # The compiler would make one sum of both.
        of_lane = jnp.sum(values.reshape(split), axis=in_lane)
        kept = lax.optimization_barrier(of_lane)  # type: ignore[no-untyped-call]
        return jnp.sum(kept, axis=place)

    return in_lanes


def _unchanged(program: Jaxpr, equation: JaxprEqn, inputs: Sequence[Any]) -> Sequence[Any]:
    named = {
        variable: value
        for variable, value in zip(equation.invars, inputs, strict=True)
        if not isinstance(variable, Literal)
    }
    alone = program.replace(  # type: ignore[no-untyped-call]
        constvars=(),
        invars=list(named),
        outvars=equation.outvars,
        eqns=[equation],
        effects=equation.effects,
    )
    outputs: Sequence[Any] = jaxpr_as_fun(ClosedJaxpr(alone, ()))(*named.values())
    return outputs


class _Product(NamedTuple):
    """The axes of the two factors of a ``dot_general``: shared, summed over, and free ones."""

    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[tuple[int, ...], tuple[int, ...]]
    summed: tuple[tuple[int, ...], tuple[int, ...]]
    dtype: Any

    @classmethod
    def of(cls, equation: JaxprEqn) -> "_Product":
        summed, batch = equation.params["dimension_numbers"]
        avals: list[Any] = [v.aval for v in (*equation.invars, *equation.outvars)]
        left, right, product = avals
        return cls((left.shape, right.shape), batch, summed, product.dtype)

    @property
    def is_small(self) -> bool:
        left, right = self.shapes
        terms = math.prod(left[axis] for axis in self.summed[0])
        rows = math.prod(left[axis] for axis in self._free(0))
        columns = math.prod(right[axis] for axis in self._free(1))
        return terms <= MOST_TERMS and min(rows, columns) <= MOST_COLUMNS

    def as_sum(self, left: Array, right: Array) -> Array:
        """Multiply as [batch, left, summed, 1] and [batch, 1, summed, right], and sum."""
        # An axis of length one at the end would keep a processor from vectorising all others.
        long = [[i for i in self._free(side) if self.shapes[side][i] > 1] for side in (0, 1)]
        left = self._arranged(0, left, (*self.batch[0], *long[0], *self.summed[0]))
        right = self._arranged(1, right, (*self.batch[1], *self.summed[1], *long[1]))
        before = len(self.batch[0])
        left = lax.expand_dims(left, range(left.ndim, left.ndim + len(long[1])))
        right = lax.expand_dims(right, range(before, before + len(long[0])))
        first = before + len(long[0])
        total = jnp.sum(left * right, axis=tuple(range(first, first + len(self.summed[0]))))
        shape = [self.shapes[0][i] for i in (*self.batch[0], *self._free(0))]
        shape += [self.shapes[1][i] for i in self._free(1)]
        return total.reshape(shape).astype(self.dtype)

    def _free(self, side: int) -> list[int]:
        taken = (*self.batch[side], *self.summed[side])
        return [axis for axis in range(len(self.shapes[side])) if axis not in taken]

    def _arranged(self, side: int, factor: Array, axes: Sequence[int]) -> Array:
        """Order the axes, and drop the others, which have length one."""
        dropped = [axis for axis in range(factor.ndim) if axis not in axes]
        return lax.squeeze(lax.transpose(factor, (*dropped, *axes)), range(len(dropped)))
