"""Compilations are counted by the name of the function, inside the context only."""

import jax
import jax.numpy as jnp
import pytest

from slt_jax.compilations import CompilationCounter


def fresh(name: str):  # noqa: ANN201
    """A jitted function that was never compiled."""

    def function(x: jax.Array) -> jax.Array:
        return 2 * x + 1

    function.__name__ = name
    return jax.jit(function)


def test_new_shapes_and_types_compile_and_new_values_do_not() -> None:
    function = fresh("counted")
    inputs = [jnp.ones(2), 3 * jnp.ones(2), jnp.ones(3), jnp.ones(2, int)]
    seen = []
    with CompilationCounter() as counter:
        for x in inputs:
            function(x).block_until_ready()
            seen.append(counter.counts["counted"])
    assert seen == [1, 1, 2, 3]


def test_outside_nothing_is_counted() -> None:
    one, other, x = fresh("inside"), fresh("outside"), jnp.ones(2)
    counter = CompilationCounter()
    other(x)
    with counter:
        one(x)
    other(jnp.ones(3))
    assert counter.counts["inside"] == 1
    assert counter.counts["outside"] == 0


def test_two_counters_count_apart() -> None:
    one, other, x = fresh("first"), fresh("second"), jnp.ones(2)
    with CompilationCounter() as outer:
        one(x)
        with CompilationCounter() as inner:
            other(x)
    assert (outer.counts["first"], outer.counts["second"]) == (1, 1)
    assert (inner.counts["first"], inner.counts["second"]) == (0, 1)


def test_an_exception_ends_the_counting() -> None:
    function, counter = fresh("late"), CompilationCounter()
    with pytest.raises(KeyError), counter:
        raise KeyError("stop")
    function(jnp.ones(2))
    assert counter.counts["late"] == 0
