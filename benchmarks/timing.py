"""Clocks, and the row of the table that every benchmark fills."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

ROOT = Path(__file__).parents[1]


# How a table says whether an aim is met.
MET = {None: "—", True: "yes", False: "**no**"}


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


def times(value: float) -> str:
    """A ratio in two significant digits."""
    return f"{value:.2f}×" if value < 3 else f"{value:.2g}×" if value < 100 else f"{value:.0f}×"


def on_cpu(module: str, argument: Any, devices: int = 1) -> Any:
    """``in_process`` with so many CPU devices."""
    flag = f"--xla_force_host_platform_device_count={devices}"
    flags = " ".join(filter(None, [os.environ.get("XLA_FLAGS"), flag]))
    return in_process(module, argument, {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags})


def in_process(module: str, argument: Any, environment: dict[str, str]) -> Any:
    """The last line that ``module`` prints, as JSON, when it is given ``argument`` as JSON.

    In a process of its own, whose complaints go where ours go.
    """
    command = [sys.executable, "-m", module, json.dumps(argument)]
    env = os.environ | environment
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])
