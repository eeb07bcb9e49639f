"""Progress of long work: a bar with rate and remaining time on a terminal, otherwise lines."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def report(chunks: Sequence[T], label: str) -> Iterator[T]:
    """Iterate over chunks of work and say on standard error how far it is."""
    if sys.stderr.isatty() and not os.environ.get("CI"):
        yield from tqdm(chunks, desc=label, leave=False, dynamic_ncols=True)
        return
    for done, chunk in enumerate(chunks, start=1):
        start = time.perf_counter()
        yield chunk
        elapsed = time.perf_counter() - start
        print(f"{label}: {done}/{len(chunks)} in {elapsed:.1f} s", file=sys.stderr, flush=True)
