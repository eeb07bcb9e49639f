"""Progress of long work: a bar with rate and remaining time on a terminal, otherwise lines."""

import os
import sys
import threading
import time
from typing import Any, Self

from tqdm import tqdm


class Progress:
    """Says on standard error how far some tasks are; safe to use from many threads.

    ``already`` tasks of ``total`` were done before and do not count for the rate.
    """

    def __init__(self, label: str, total: int, already: int = 0) -> None:
        self._label = label
        self._done, self._already, self._total = already, already, total
        self._start = time.perf_counter()
        self._lock = threading.Lock()
        self._bar: tqdm[Any] | None = None
        if total > already and sys.stderr.isatty() and not os.environ.get("CI"):
            self._bar = tqdm(
                total=total, initial=already, desc=label, unit="task", leave=False,
                dynamic_ncols=True,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, line: str) -> None:
        """A line that stays, above the bar if there is one."""
        with self._lock:
            tqdm.write(f"{self._label}: {line}", file=sys.stderr)

    def advance(self, name: str, seconds: float) -> None:
        """One more task is done, called ``name``, which took ``seconds``."""
        with self._lock:
            self._done += 1
            if self._bar is not None:
                self._bar.set_postfix_str(name, refresh=False)
                self._bar.update()
                return
            each = (time.perf_counter() - self._start) / (self._done - self._already)
            left = each * (self._total - self._done)
            line = f"{self._label}: {self._done}/{self._total} {name} in {seconds:.1f} s"
            if left >= 1:
                line += f", about {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)
