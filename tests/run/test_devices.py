"""Jobs over devices: the same answers however many rounds there are, and their memory.

That several devices give what one gives is seen in ``test_experiments``, on a curve.
"""

import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.run.devices import (
    CPU_BUDGET,
    JobFunction,
    device_budget,
    peak_bytes,
    use_all_cores,
)


def power_of_jobs(exponent: int, shift: jax.Array, values: dict[str, jax.Array]) -> jax.Array:
    """x^exponent + shift by a loop, of each job."""

    def one(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, exponent, lambda _, y: y * x, jnp.ones_like(x)) + shift

    return jax.vmap(one)(values["x"])


def expected(values: np.ndarray, exponent: int, shift: float) -> np.ndarray:
    return values**exponent + shift


@pytest.mark.parametrize("count", [1, 2, 7, 64])
@pytest.mark.parametrize("budget", [None, 1, 2000])
def test_all_jobs_are_answered_whatever_the_budget(count: int, budget: int | None) -> None:
    jobs = JobFunction(power_of_jobs, num_static=1, num_shared=1)
    values = np.linspace(0, 1, 3 * count, dtype=np.float32).reshape(count, 3)
    found = jobs(3, jnp.float32(2.0), {"x": values}, budget=budget)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected(values, 3, 2.0), rtol=1e-6)


def test_one_program_for_all_calls() -> None:
    once = chex.assert_max_traces(power_of_jobs, n=1)
    jobs = JobFunction(once, num_static=1, num_shared=1)
    for count, shift in ((8, 0.0), (8, 1.0), (5, 2.0), (1, 3.0)):
        values = np.ones((count, 2), np.float32)
        powers = jobs(2, jnp.float32(shift), {"x": values}, rows=8)
        np.testing.assert_allclose(powers, expected(values, 2, shift))


def test_rounds_hold_as_many_jobs_as_the_budget_allows() -> None:
    """All 64 are tried first; then as many as are bounded by the budget, and not far fewer."""
    widths = []

    def sines(x: jax.Array) -> jax.Array:
        widths.append(len(x))
        return jnp.sin(x)

    values = np.ones((64, 1000), np.float32)
    of_one = peak_bytes(jax.make_jaxpr(jnp.sin)(values[:1]))
    for allowed in (1, 5, 20):
        widths.clear()
        JobFunction(sines, num_static=0, num_shared=0)(values, budget=allowed * of_one)
        assert widths[0] == 64
        assert allowed / 2 <= widths[-1] <= allowed


def test_an_error_in_one_job_stays_there() -> None:
    jobs = JobFunction(power_of_jobs, num_static=1, num_shared=1)
    values = np.array([[1.0], [np.nan], [2.0]], np.float32)
    found = jobs(2, jnp.float32(0), {"x": values}, budget=1)
    np.testing.assert_array_equal(found[:, 0], [1.0, np.nan, 4.0])


def test_a_cpu_has_a_budget() -> None:
    assert device_budget(jax.devices("cpu")[0]) == CPU_BUDGET


@pytest.mark.parametrize(("chosen", "expected"), [("", len(os.sched_getaffinity(0))), ("3", 3)])
def test_every_core_is_a_device_unless_their_number_was_chosen(chosen: str, expected: int) -> None:
    script = "import slt_jax, jax; slt_jax.use_all_cores(); print(jax.local_device_count())"
    env = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    env |= {"JAX_PLATFORMS": "cpu"} | ({"JAX_NUM_CPU_DEVICES": chosen} if chosen else {})
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == expected


def test_a_backend_that_has_started_keeps_its_devices() -> None:
    before = jax.devices()
    use_all_cores()
    assert jax.devices() == before


# --- memory ---------------------------------------------------------------------------------


def bound(function: object, *shapes: tuple[int, ...]) -> int:
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return peak_bytes(jax.make_jaxpr(function)(*arguments))


def test_what_is_no_longer_used_is_free() -> None:
    """Three arrays at most at a time, however long the chain; the argument is never freed."""

    def chain(length: int):  # noqa: ANN202
        def function(x: jax.Array) -> jax.Array:
            for _ in range(length):
                x = jnp.sin(x)
            return x

        return function

    size = 4 * 1000
    assert bound(chain(1), (1000,)) == 2 * size
    assert bound(chain(2), (1000,)) == bound(chain(20), (1000,)) <= 3 * size


def test_what_lies_inside_loops_and_calls_counts() -> None:
    def outer(x: jax.Array) -> jax.Array:
        inner = jax.jit(lambda v: jnp.sum(jnp.outer(v, v)))
        return jax.lax.map(lambda _: inner(x), jnp.arange(5))

    assert bound(outer, (1000,)) >= 4 * 1000**2
    assert bound(outer, (1000,)) < 3 * 4 * 1000**2


@pytest.mark.parametrize("size", [100, 400])
def test_the_bound_holds_for_what_a_compiler_makes(size: int) -> None:
    def function(x: jax.Array) -> jax.Array:
        def step(carry: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            carry = jnp.tanh(carry @ carry) + x
            return carry, jnp.linalg.norm(carry)

        return jax.grad(lambda y: jnp.sum(jax.lax.scan(step, y, None, length=7)[1]))(x)

    compiled = jax.jit(function).lower(jax.ShapeDtypeStruct((size, size), jnp.float32)).compile()
    used = compiled.memory_analysis()
    assert bound(function, (size, size)) >= used.temp_size_in_bytes + used.output_size_in_bytes
