"""Compilations of a curve, and cold and warm starts in multiples of importing JAX."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.timing import Row, times
from slt_jax.curves.jobs import batch_keys, sampled_jobs
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.run.compilation import CompilationCounter
from slt_jax.samplers.smc import SMCSettings

ROOT = Path(__file__).parents[1]
PROBLEM = "monomial_1_1"
SIZES = (30, 100, 300, 1000)
WARM_STARTS = 3
DEMO_SECONDS = 90

IMPORT = "import jax"
FIRST_USE = """
import jax, slt_jax as slt
problem = slt.named_problems()["tanh_2"]
data = slt.simulate(problem, jax.random.key(0), n=100)
"""
FIRST_SAMPLE = "print(slt.sample(problem, data, key=jax.random.key(1)).free_energy)"
FLOORS = {
    "JAX, numpyro's distributions and one array": (
        "import jax.numpy as jnp, numpyro.distributions; jnp.zeros(3).block_until_ready()"
    ),
    "JAX and blackjax": "import jax, blackjax",
    "plotting and storage": (
        "import jax.numpy as jnp, numpyro.distributions, xarray, h5netcdf, matplotlib.figure; "
        "jnp.zeros(3).block_until_ready()"
    ),
}


class Start(NamedTuple):
    """A process to start, and what it may take cold and warm in multiples of importing JAX."""

    name: str
    command: tuple[str, ...]
    cold_aim: float | None = None
    warm_aim: float | None = None


def starts() -> tuple[Start, ...]:
    """Return what a user does first."""
    first_block = (ROOT / "README.md").read_text("utf-8").split("```python\n")[1]
    model_and_data = first_block.partition("for sampler")[0]
    exact = model_and_data + "print(slt.exact(model, data).free_energy)"
    smoke = ("-m", "experiments.free_energy", "--preset", "smoke")
    return (
        Start("first use of a problem", ("-c", FIRST_USE), warm_aim=2.3),
        Start("the README's exact answer", ("-c", exact), warm_aim=4),
        Start("first sampled F_n", ("-c", FIRST_USE + FIRST_SAMPLE), cold_aim=9, warm_aim=5),
        Start("free_energy --preset smoke", smoke, warm_aim=12),
    )


def measure(quick: bool) -> dict[str, Any]:
    """``sampler`` and ``all`` programs compiled for one curve; seconds of processes.

    A quick run starts no process.
    """
    timings: dict[str, Any] = _compilations()
    if quick:
        return timings
    timings["floors"] = {
        name: _beside_import(("-c", code), None, WARM_STARTS) for name, code in FLOORS.items()
    }
    timings["starts"] = {}
    for start in starts():
        with tempfile.TemporaryDirectory() as cache:
            timings["starts"][start.name] = {
                "cold": _beside_import(start.command, cache, 1),
                "warm": _beside_import(start.command, cache, WARM_STARTS),
            }
    with tempfile.TemporaryDirectory() as cache:
        timings["demo_seconds"] = _seconds(_demo(), cache)
    return timings


def _demo() -> tuple[str, ...]:
    """Return what ``make demo`` runs once it has installed."""
    done = subprocess.run(
        ["make", "--dry-run", "--assume-old=.venv/stamp", "demo"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return tuple(done.stdout.splitlines()[-1].split()[1:])


def _compilations() -> dict[str, Any]:
    problem = named_problems()[PROBLEM]
    settings = SMCSettings(num_chains=7, chain_length=5)
    jax.clear_caches()
    with CompilationCounter() as counter:
        for n, statistics_of_n in zip(
            SIZES, statistics_along_n(problem, jax.random.key(0), 2, SIZES), strict=True
        ):
            keys = batch_keys(jax.random.key(1), n, 2, 2)
            sampled_jobs(problem, n, statistics_of_n, keys, settings, 0.4)
    return {"sampler": counter.counts["smc_batch"], "all": counter.counts.total()}


def _beside_import(command: tuple[str, ...], cache: str | None, count: int) -> dict[str, float]:
    """Median seconds of a process, and how many times those of importing JAX right before it."""
    pairs = [(_seconds(("-c", IMPORT), None), _seconds(command, cache)) for _ in range(count)]
    return {
        "seconds": statistics.median(spent for _, spent in pairs),
        "ratio": statistics.median(spent / floor for floor, spent in pairs),
    }


def _seconds(command: tuple[str, ...], cache: str | None) -> float:
    """Wall seconds of a Python process, whose compilations are kept below ``cache``, if anywhere.

    What it writes goes into a folder that is then removed.
    """
    env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    env |= {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": cache or os.devnull}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *command], cwd=folder, env=env, check=True, capture_output=True
        )
        return time.perf_counter() - start


def rows(timings: dict[str, Any]) -> list[Row]:
    """Compilations, and the floors and the starts where they were measured."""
    table = [
        Row(
            "compilations per curve",
            f"{timings['sampler']} of the sampler, {timings['all']} in all",
            "1 of the sampler",
            timings["sampler"] == 1,
            f"{PROBLEM} at {len(SIZES)} sizes, with its data",
        )
    ]
    if "starts" not in timings:
        return [*table, Row("starts", "not measured", how="times importing JAX")]
    for name in FLOORS:
        spent = timings["floors"][name]
        table.append(Row(f"start: {name}", times(spent["ratio"]), how=_how(spent, "floor")))
    for start in starts():
        for state, aim in (("cold", start.cold_aim), ("warm", start.warm_aim)):
            spent = timings["starts"][start.name][state]
            limit, met = ("—", None) if aim is None else (f"≤ {aim:g}×", spent["ratio"] <= aim)
            name = f"start: {start.name}, {state}"
            table.append(Row(name, times(spent["ratio"]), limit, met, _how(spent, state)))
    spent = timings["demo_seconds"]
    how = "what `make demo` runs after installation, empty compilation cache"
    met = spent <= DEMO_SECONDS
    return [*table, Row("demo", f"{spent:.0f} s", f"≤ {DEMO_SECONDS} s", met, how)]


def _how(spent: dict[str, float], state: str) -> str:
    caches = {"floor": "", "cold": ", empty compilation cache", "warm": ", cache of the cold start"}
    return f"times `import jax` right before, {spent['seconds']:.1f} s{caches[state]}"
