"""Compilations are counted by the name of the function, inside the context only."""

import jax
import jax.numpy as jnp
import pytest

from slt_jax.run import compilation as compilations
from slt_jax.run.compilation import CompilationCounter, compiler_options, jit_at_first_call


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


def test_options_that_this_xla_does_not_know_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"xla_backend_optimization_level": 1}
    monkeypatch.setattr(compilations, "CPU_OPTIONS", known | {"xla_no_such_option": 1})
    compiler_options.cache_clear()
    try:
        assert compiler_options("cpu") == known
        assert compiler_options("gpu") == {}
    finally:
        compiler_options.cache_clear()


def test_a_function_jitted_at_its_first_call_compiles_once_per_constant() -> None:
    def power(exponent: int, x: jax.Array) -> jax.Array:
        return x**exponent

    compiled = jit_at_first_call(power, static_argnums=(0,))
    x = jnp.arange(3.0)
    with CompilationCounter() as counter:
        for exponent in (2, 3, 2):
            assert jnp.array_equal(compiled(exponent, x), x**exponent)
    assert counter.counts["power"] == 2
