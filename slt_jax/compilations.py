"""Counts what JAX compiles, to show that sweeping n, β, data or seeds compiles nothing."""

import collections
from types import TracebackType
from typing import Self

import jax

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
