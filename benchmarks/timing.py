"""Clocks, and the row of the table that every benchmark fills."""

import statistics
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax

from slt_jax.compilations import EVENT


class Row(NamedTuple):
    """One line of the table; ``met`` is None where there is no aim or nothing was measured."""

    benchmark: str
    measured: str
    aim: str = "—"
    met: bool | None = None
    how: str = ""


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call until its arrays are there, in seconds."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def median_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median wall time of a call, after one that is not counted, in seconds."""
    jax.block_until_ready(function())
    return statistics.median(seconds(function) for _ in range(repeats))


class CompilationClock:
    """Context manager; afterwards ``seconds`` is what XLA took to compile within it."""

    def __init__(self) -> None:
        self.seconds = 0.0

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
        del kwargs
        if event == EVENT:
            self.seconds += duration_secs


def times(value: float) -> str:
    """A ratio in two significant digits."""
    return f"{value:.2f}×" if value < 3 else f"{value:.2g}×" if value < 100 else f"{value:.0f}×"
