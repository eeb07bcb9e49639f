"""Compilations of a curve, and cold and warm start of the demo command."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

from benchmarks.timing import Row
from slt_jax.curves.jobs import batch_keys, sampled_jobs
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.run.compilation import CompilationCounter
from slt_jax.samplers.smc import SMCSettings

ROOT = Path(__file__).parents[1]
DEMO = ("-m", "experiments.free_energy", "--preset", "smoke")
PROBLEM = "monomial_1_1"
SIZES = (30, 100, 300, 1000)


def measure(quick: bool) -> dict[str, Any]:
    """``sampler`` and ``all`` programs compiled for one curve; seconds of a cold and a warm demo.

    The demo is left out of a quick run.
    """
    timings: dict[str, Any] = _compilations()
    if not quick:
        with tempfile.TemporaryDirectory() as folder:
            timings["cold_seconds"] = _demo(Path(folder), "cold")
            timings["warm_seconds"] = _demo(Path(folder), "warm")
    return timings


def _compilations() -> dict[str, Any]:
    problem = named_problems()[PROBLEM]
    settings = SMCSettings(num_chains=7, chain_length=5)
    jax.clear_caches()
    with CompilationCounter() as counter:
        for n, statistics in zip(
            SIZES, statistics_along_n(problem, jax.random.key(0), 2, SIZES), strict=True
        ):
            keys = batch_keys(jax.random.key(1), n, 2, 2)
            sampled_jobs(problem, n, statistics, keys, settings, 0.4)
    return {"sampler": counter.counts["smc_batch"], "all": counter.counts.total()}


def _demo(folder: Path, out: str) -> float:
    """Wall seconds of the demo, whose compilations are kept below ``folder``."""
    env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    env["XDG_CACHE_HOME"] = str(folder)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *DEMO, "--out", str(folder / out)],
        cwd=ROOT, env=env, check=True, capture_output=True,
    )  # fmt: skip
    return time.perf_counter() - start


def rows(timings: dict[str, Any]) -> list[Row]:
    """Compilations, and the two starts where they were measured."""
    table = [
        Row(
            "compilations per curve",
            f"{timings['sampler']} of the sampler, {timings['all']} in all",
            "1 of the sampler",
            timings["sampler"] == 1,
            f"{PROBLEM} at {len(SIZES)} sizes, with its data",
        )
    ]
    if "cold_seconds" not in timings:
        return [*table, Row("demo, cold and warm", "not measured", how="quick run")]
    cold, warm = timings["cold_seconds"], timings["warm_seconds"]
    how = f"python {' '.join(DEMO)} in a process of its own, "
    return [
        *table,
        Row("demo, cold", f"{cold:.0f} s", how=how + "empty compilation cache"),
        Row("demo, warm", f"{warm:.0f} s", how=how + "cache of the cold run"),
    ]
