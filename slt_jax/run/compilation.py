"""Compilation, its options and its count: sweeping n, β, data or seeds compiles nothing."""

import collections
import contextlib
import functools
import hashlib
import logging
import os
import platform
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

# Seconds of compilation that are worth a file, here and by JAX's own choice. Dozens of small
# programs, which take 20 ms each, are half of a warm start if they are not kept.
SHORTEST_KEPT, JAX_SHORTEST_KEPT = 0.0, 1.0
# Samplers compile in less than half the time at this level and run equally fast: their loops are
# vectorised before LLVM sees them. A library of kernels for matrix products gets these alone: given
# sums too, it takes them out of the loops that they were fused with, at half the speed and less.
CPU_OPTIONS: dict[str, int | str] = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
}

EVENT = "/jax/core/compile/backend_compile_duration"


class CompilationCounter:
    """Context manager that listens to XLA.

    Afterwards ``counts`` maps a function's name to its compilations, and ``seconds`` is what all
    of them took.
    """

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.seconds = 0.0

    def __enter__(self) -> Self:
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == EVENT:
            name = str(kwargs.get("fun_name", "unknown"))
            self.counts[name.removeprefix("jit(").removesuffix(")")] += 1
            self.seconds += duration_secs


def jit_at_first_call(
    function: Callable[P, R], static_argnums: tuple[int, ...] = ()
) -> Callable[P, R]:
    """``jax.jit`` that asks for the backend, and for its options, only when called.

    Importing a module must start no backend, and ``compiler_options`` depend on it. Programs are
    kept as ``keep_compilations`` says.
    """

    lock = threading.Lock()

    @functools.cache
    def compiled() -> Callable[P, R]:
        keep_compilations()
        options = compiler_options(jax.default_backend())
        return jax.jit(function, static_argnums=static_argnums, compiler_options=options)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:  # two threads would each make a program, and compile it
            program = compiled()
        return program(*args, **kwargs)

    return call


@functools.cache
def compiler_options(backend: str) -> dict[str, Any]:
    """Those of ``CPU_OPTIONS`` that this version of XLA knows, on CPUs; nothing elsewhere."""
    if backend != "cpu":
        return {}
    return {name: value for name, value in CPU_OPTIONS.items() if _is_known(name, value)}


def _is_known(option: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={option: value})()
    except jax.errors.JaxRuntimeError:
        return False
    return True


@functools.cache
def keep_compilations() -> None:
    """Keep compiled programs in the user's cache folder, so that the next start is warm.

    The first program that is compiled here calls this, once in a process, and so does what else
    keeps files there, and ``define_model``; the log says where the folder is. The folder then
    serves all of JAX in this process. Does nothing if JAX was told of a folder already, or of none
    (``JAX_COMPILATION_CACHE_DIR`` empty, or its configuration ``jax_enable_compilation_cache``
    false), or if the folder cannot be made. Programs for CPUs hold the machine's instructions: each
    kind of processor has a folder of its own.
    """
    config: Any = jax.config
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(home).expanduser() / "slt_jax" / processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    config.update("jax_compilation_cache_dir", str(folder))
    if config.jax_persistent_cache_min_compile_time_secs == JAX_SHORTEST_KEPT:
        config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST_KEPT)
    logger.info(
        "compiled programs are kept in %s; JAX_COMPILATION_CACHE_DIR chooses another folder, or "
        "none if it is empty", folder,
    )  # fmt: skip


def processor() -> str:
    """Return a name for the instruction set of this machine's processor."""
    flags = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"
