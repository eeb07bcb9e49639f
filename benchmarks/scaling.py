"""A fixed sweep over several devices of one processor."""

import json
import os
import sys
from typing import Any

import jax

from benchmarks.timing import Row, median_seconds, on_cpu, times
from slt_jax.curves.jobs import batch_keys, sampled_jobs
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.samplers.smc import SMCSettings

PROBLEM = "monomial_1_1"
SAMPLE_SIZE = 1000
SEEDS = 4


def measure(quick: bool) -> dict[str, Any]:
    """Seconds of the sweep by number of CPU devices."""
    devices = [1, 2] if quick else [1, 2, 4, 8]
    return {
        "devices": devices,
        "seconds": [on_cpu("benchmarks.scaling", quick, devices=d) for d in devices],
        "cores": os.cpu_count(),
    }


def sweep_seconds(quick: bool) -> float:
    """Median seconds of the sweep on all devices of this process, compilation not counted."""
    problem = named_problems()[PROBLEM]
    data_sets = 8 if quick else 64
    settings = SMCSettings(num_chains=8, chain_length=4) if quick else SMCSettings()
    statistics = statistics_along_n(problem, jax.random.key(0), data_sets, [SAMPLE_SIZE])[0]
    keys = batch_keys(jax.random.key(1), SAMPLE_SIZE, data_sets, SEEDS)

    def run() -> Any:
        jobs = sampled_jobs(problem, SAMPLE_SIZE, statistics, keys, settings, 0.4)
        return jobs["normalised_free_energy"].to_numpy()

    return median_seconds(run, 2 if quick else 3)


def rows(timings: dict[str, Any]) -> list[Row]:
    """Speed-up by number of devices."""
    first = timings["seconds"][0]
    gains = ", ".join(
        f"{times(first / spent)} on {count}"
        for count, spent in zip(timings["devices"][1:], timings["seconds"][1:], strict=True)
    )
    how = f"SMC of {PROBLEM}, compilation not counted; forced CPU devices share {timings['cores']} "
    return [Row("sweep over devices", gains, how=how + "cores, so no gain beyond them is possible")]


if __name__ == "__main__":
    print(json.dumps(sweep_seconds(json.loads(sys.argv[1]))))
