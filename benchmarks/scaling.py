"""A fixed sweep over several devices, and many chains on an accelerator where there is one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from benchmarks.chains import steps_per_second
from benchmarks.timing import Row, median_seconds, times
from slt_jax.data import summaries_along_n
from slt_jax.jobs import batch_keys, sampled_jobs
from slt_jax.model import discover_problems
from slt_jax.samplers.smc import SMCSettings

ROOT = Path(__file__).parents[1]
PROBLEM = "monomial_1_1"
SAMPLE_SIZE = 1000
SEEDS = 4


def measure(quick: bool) -> dict[str, Any]:
    """Seconds of the sweep by number of CPU devices, and rates by chains on a GPU or None."""
    devices = [1, 2] if quick else [1, 2, 4, 8]
    found: dict[str, Any] = {
        "devices": devices,
        "seconds": [_in_process(count, quick) for count in devices],
        "cores": os.cpu_count(),
        "gpu": None,
    }
    if jax.default_backend() == "gpu":
        found["gpu"] = _on_gpu([10, 100] if quick else [10**k for k in range(1, 6)])
    return found


def _on_gpu(numbers: list[int]) -> dict[str, Any]:
    """Chain-steps per second and peak bytes, which only grow: numbers of chains must increase."""
    rates, peaks = [], []
    for chains in numbers:
        rates.append(steps_per_second(chains, 3))
        statistics = jax.devices()[0].memory_stats() or {}
        peaks.append(statistics.get("peak_bytes_in_use"))
    return {"chains": numbers, "rate": rates, "peak_bytes": peaks}


def _in_process(devices: int, quick: bool) -> float:
    """The sweep's seconds in a process that has as many CPU devices."""
    flag = f"--xla_force_host_platform_device_count={devices}"
    flags = " ".join(filter(None, [os.environ.get("XLA_FLAGS"), flag]))
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "benchmarks.scaling", json.dumps(quick)]
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def sweep_seconds(quick: bool) -> float:
    """Median seconds of the sweep on all devices of this process, compilation not counted."""
    problem = discover_problems()[PROBLEM]
    data_sets = 8 if quick else 64
    settings = SMCSettings(num_chains=8, chain_length=4) if quick else SMCSettings()
    summary = summaries_along_n(problem, jax.random.key(0), data_sets, [SAMPLE_SIZE])[0]
    keys = batch_keys(jax.random.key(1), SAMPLE_SIZE, data_sets, SEEDS)

    def run() -> Any:
        jobs = sampled_jobs(problem, SAMPLE_SIZE, summary, keys, settings, 0.4)
        return jobs["free_energy"].to_numpy()

    return median_seconds(run, 2 if quick else 3)


def rows(found: dict[str, Any]) -> list[Row]:
    """Speed-up by number of devices, and the GPU if there is one."""
    first = found["seconds"][0]
    gains = ", ".join(
        f"{times(first / spent)} on {count}"
        for count, spent in zip(found["devices"][1:], found["seconds"][1:], strict=True)
    )
    how = f"SMC of {PROBLEM}, compilation not counted; forced CPU devices share {found['cores']} "
    table = [
        Row("sweep over devices", gains, how=how + "cores, so no gain beyond them is possible")
    ]
    gpu = found["gpu"]
    if gpu is None:
        return [*table, Row("chains on a GPU", "not measured", how="no GPU found")]
    return [
        *table,
        Row(
            "chains on a GPU",
            f"{gpu['rate'][-1]:.2g} steps/s at {gpu['chains'][-1]} chains, "
            f"{times(gpu['rate'][-1] / gpu['rate'][0])} {gpu['chains'][0]} chains",
            how="SGLD on a 5-5-5 linear net",
        ),
    ]


if __name__ == "__main__":
    print(json.dumps(sweep_seconds(json.loads(sys.argv[1]))))
