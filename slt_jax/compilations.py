"""How functions are compiled, and how often: sweeping n, β, data or seeds compiles nothing."""

import collections
import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")

# Large programs of small loops: these compile in a third of the time and run equally fast.
CPU_OPTIONS = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}

EVENT = "/jax/core/compile/backend_compile_duration"


class CompilationCounter:
    """Context manager; afterwards ``counts`` maps a function's name to its compilations."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()

    def __enter__(self) -> Self:
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        del duration_secs
        if event == EVENT:
            name = str(kwargs.get("fun_name", "unknown"))
            self.counts[name.removeprefix("jit(").removesuffix(")")] += 1


def jit_at_first_call(
    function: Callable[P, R], static_argnums: tuple[int, ...] = ()
) -> Callable[P, R]:
    """``jax.jit`` that asks for the backend, and for its options, only when called.

    Importing a module must start no backend, and ``compiler_options`` depend on it.
    """

    @functools.cache
    def compiled() -> Callable[P, R]:
        options = compiler_options(jax.default_backend())
        return jax.jit(function, static_argnums=static_argnums, compiler_options=options)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return compiled()(*args, **kwargs)

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
