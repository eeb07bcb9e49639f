"""Compilations are counted by the name of the function, inside the context only, and kept."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from slt_jax.run import compilation as compilations
from slt_jax.run.compilation import (
    CompilationCounter,
    compiler_options,
    jit_at_first_call,
    keep_compilations,
)

ROOT = Path(__file__).resolve().parents[2]


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


# --- what is kept on disk ---------------------------------------------------------------------

FOLDER, ENABLED, SHORTEST = (
    "jax_compilation_cache_dir", "jax_enable_compilation_cache",
    "jax_persistent_cache_min_compile_time_secs",
)  # fmt: skip


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's cache folder, with JAX as it is when nobody has told it anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = {name: getattr(jax.config, name) for name in (FOLDER, ENABLED, SHORTEST)}
    keep_compilations.cache_clear()
    jax.config.update(FOLDER, None)
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_are_kept_and_the_log_says_where_once(
    cache_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="slt_jax"):
        keep_compilations()
        keep_compilations()
    folder = Path(jax.config.jax_compilation_cache_dir)
    assert folder.is_dir()
    assert folder.parent == cache_home / "slt_jax"
    assert jax.config.jax_persistent_cache_min_compile_time_secs == compilations.SHORTEST_KEPT
    (line,) = caplog.messages
    assert str(folder) in line
    assert "JAX_COMPILATION_CACHE_DIR" in line


@pytest.mark.parametrize(("name", "value"), [(FOLDER, "/mine"), (FOLDER, ""), (ENABLED, False)])
def test_what_a_user_told_jax_is_left_alone(
    name: str, value: object, cache_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jax.config.update(name, value)
    folder = jax.config.jax_compilation_cache_dir
    with caplog.at_level("INFO", logger="slt_jax"):
        keep_compilations()
    assert jax.config.jax_compilation_cache_dir == folder
    assert (caplog.messages, os.listdir(cache_home)) == ([], [])


@pytest.mark.usefixtures("cache_home")
def test_a_threshold_of_the_users_own_stays() -> None:
    jax.config.update(SHORTEST, 5.0)
    keep_compilations()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 5.0


def test_a_folder_that_cannot_be_made_is_no_obstacle(cache_home: Path) -> None:
    (cache_home / "slt_jax").write_text("in the way")
    keep_compilations()
    assert jax.config.jax_compilation_cache_dir is None


LIBRARY_USE = """
import os, jax, slt_jax as slt
problem = slt.named_problems()["linear_3"]
assert jax.config.jax_compilation_cache_dir is None
slt.simulate(problem, jax.random.key(0), n=3)
print(jax.config.jax_compilation_cache_dir)
"""


def test_the_first_program_of_the_library_keeps_it_and_no_import_does(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")}
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY_USE], cwd=ROOT, text=True,
        env=env | {"XDG_CACHE_HOME": str(tmp_path)}, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).parent == tmp_path / "slt_jax"
