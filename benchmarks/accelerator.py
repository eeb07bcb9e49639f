"""Thousands of chains on an accelerator, beside the processor of the same machine.

    python -m benchmarks.accelerator

writes docs/benchmarks_accelerator.md, the figure and the JSON that it is made of.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import gradients, machine
from benchmarks.chains import steps_per_second
from benchmarks.timing import MET, in_process, median_seconds, on_cpu, times
from slt_jax.curves.jobs import batch_keys, sampled_jobs
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.report import plotting
from slt_jax.run import store
from slt_jax.samplers.smc import SMCSettings

ROOT = Path(__file__).parents[1]
NAME = "benchmarks_accelerator"
MODULE = "benchmarks.accelerator"
PROBLEM = "tanh_3"
SAMPLE_SIZE = 1000
SEEDS = 4
STEP_SIZE = 0.4
CHECKED = 16  # data sets whose exact answer is computed, a quarter of a million nodes each
MEBIBYTE = 2**20

CHAINS = (10, 100, 1000, 10_000, 100_000, 1_000_000)
CHAINS_ON_CPU = (10, 100, 1000, 10_000)
DATA_SETS = (1, 16, 256, 2048)
DATA_SETS_ON_CPU = (1, 16, 64)
CHAINS_OF_GRADIENTS = 2**16


def sgld_by_chains(numbers: Sequence[int]) -> dict[str, Any]:
    """Chain-steps per second and peak bytes; numbers of chains must increase.

    ``peak_bytes`` is the most that the process has held on its device so far, None where that
    is not counted.
    """
    timings: dict[str, Any] = {"sizes": list(numbers), "rate": [], "peak_bytes": []}
    for chains in numbers:
        timings["rate"].append(steps_per_second(chains, 3))
        timings["peak_bytes"].append(_peak_bytes())
    return timings


def smc_by_data_sets(numbers: Sequence[int]) -> dict[str, Any]:
    """Runs per second and peak bytes likewise, and how far the last F_n are from the exact ones."""
    timings: dict[str, Any] = {"sizes": list(numbers), "rate": [], "peak_bytes": []}
    problem = named_problems()[PROBLEM]
    for number in numbers:
        statistics = statistics_along_n(problem, jax.random.key(0), number, [SAMPLE_SIZE])[0]
        keys = batch_keys(jax.random.key(1), SAMPLE_SIZE, number, SEEDS)
        jobs: list[Any] = []

        def run(statistics: Any = statistics, keys: Any = keys, jobs: list[Any] = jobs) -> Any:
            jobs.append(
                sampled_jobs(problem, SAMPLE_SIZE, statistics, keys, SMCSettings(), STEP_SIZE)
            )
            return jobs[-1]["normalised_free_energy"].to_numpy()

        timings["rate"].append(number * SEEDS / median_seconds(run, 2))
        timings["peak_bytes"].append(_peak_bytes())
    checked = jax.tree.map(lambda leaf: leaf[:CHECKED], statistics)
    exact = oracle_for(problem, 1).moments(checked).normalised_free_energy.value
    gap = jobs[-1]["normalised_free_energy"].to_numpy()[:CHECKED] - exact
    errors = jobs[-1]["normalised_free_energy_se"].to_numpy()[:CHECKED]
    return timings | {
        "converged": float(jobs[-1]["converged"].mean()),
        "checked": len(exact),
        "mean_error": float(np.mean(gap)),
        "mean_error_se": float(np.sqrt(np.sum(errors**2)) / len(exact)),
    }


def gradients_inside(chains: int) -> dict[str, Any]:
    """The ratios of ``benchmarks.gradients`` with as many chains as fill an accelerator."""
    return gradients.measure(False, chains=chains, repeats=3)


PARTS = {
    "sgld": (sgld_by_chains, CHAINS),
    "smc": (smc_by_data_sets, DATA_SETS),
    "gradients": (gradients_inside, CHAINS_OF_GRADIENTS),
}


def _peak_bytes() -> int | None:
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def markdown(results: Mapping[str, Any]) -> str:
    """docs/benchmarks_accelerator.md."""
    device, cpu = results["device"], results["cpu"]
    smc = device["smc"]
    lines = [
        "# Chains on an accelerator",
        "",
        "Written by `python -m benchmarks.accelerator`. Compilation is not counted; peak is the "
        "most memory that the process of a table has held on the device so far; the processor is "
        "that of the same machine in the same run.",
        "",
        machine.sentence(results["machine"]),
        f"It took {results['minutes']:.0f} minutes.",
        "",
        f"SGLD on a 5-5-5 linear net (50 parameters), n = {SAMPLE_SIZE}, full gradients, float32; "
        "the processor as one device of JAX.",
        "",
        "| chains | chain-steps/s | peak [MiB] | on the processor | ratio |",
        "|---:|---:|---:|---:|---:|",
        *_lines(device["sgld"], cpu["sgld"]),
        "",
        f"Tempered SMC of {PROBLEM} at n = {SAMPLE_SIZE}: {SEEDS} runs of "
        f"{SMCSettings().num_particles} particles for each data set, with all its estimates; the "
        f"processor as {results['machine']['cores']} devices, one for each core.",
        "",
        "| data sets | runs/s | peak [MiB] | on the processor | ratio |",
        "|---:|---:|---:|---:|---:|",
        *_lines(smc, cpu["smc"]),
        "",
        f"Of the {smc['sizes'][-1]} data sets {smc['converged']:.1%} converged. On "
        f"{smc['checked']} of them the sampled F_n is {smc['mean_error']:+.3f} ± "
        f"{smc['mean_error_se']:.3f} nats from the exact one, on average.",
        "",
        f"Gradients per second inside a sampler over those of a bare vmapped loop, "
        f"{device['gradients']['chains']} chains on the accelerator:",
        "",
        "| sampler and problem | ratio (rate) | aim | met |",
        "|---|---:|---:|---|",
        *(
            f"| {row.benchmark} | {row.measured} | {row.aim} | {MET[row.met]} |"
            for row in gradients.rows(device["gradients"])
        ),
        "",
    ]
    return "\n".join(lines)


def _lines(device: Mapping[str, Any], cpu: Mapping[str, Any]) -> list[str]:
    beside = dict(zip(cpu["sizes"], cpu["rate"], strict=True))
    lines = []
    for size, rate, peak in zip(device["sizes"], device["rate"], device["peak_bytes"], strict=True):
        held = "—" if peak is None else f"{peak / MEBIBYTE:.0f}"
        other = beside.get(size)
        compared = "— | —" if other is None else f"{other:.3g} | {times(rate / other)}"
        lines.append(f"| {size} | {rate:.3g} | {held} | {compared} |")
    return lines


def draw(results: Mapping[str, Any]) -> plotting.Figure:
    """Rates above, memory below; SGLD left, SMC right."""
    device, cpu = results["device"], results["cpu"]
    cores = results["machine"]["cores"]
    columns = (
        ("sgld", "chains", "chain-steps per second", "SGLD, 5-5-5 linear net", "CPU, one device"),
        ("smc", "data sets", "runs per second", f"SMC, {PROBLEM}, {SEEDS} runs a data set",
         f"CPU, {cores} cores"),
    )  # fmt: skip
    with plotting.matplotlib.rc_context(plotting.STYLE):
        figure = plotting.Figure(figsize=(7.6, 5.4), layout="constrained")
        panels = figure.subplots(2, 2, sharex="col")
        for above, below, column in zip(*panels, columns, strict=True):
            name, sizes, unit, title, beside = column
            on_device, on_processor = device[name], cpu[name]
            above.loglog(
                on_device["sizes"], on_device["rate"], color="black", marker="o",
                label=results["machine"]["device_kind"],
            )  # fmt: skip
            above.loglog(
                on_processor["sizes"], on_processor["rate"], color="0.5", marker="s",
                linestyle="--", label=beside,
            )  # fmt: skip
            top = above.get_ylim()[1]
            above.set_ylim(top=30 * top)
            above.set_ylabel(unit)
            above.set_title(title)
            above.legend(fontsize=8, loc="upper left")
            if None not in on_device["peak_bytes"]:
                held = np.array(on_device["peak_bytes"]) / MEBIBYTE
                below.loglog(on_device["sizes"], held, color="black", marker="o")
                below.set_ylim(min(held) / 2, max(10 * min(held), 2 * max(held)))
            below.set_ylabel("peak memory [MiB]")
            below.set_xlabel(sizes)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write JSON, document and figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accelerator", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT, help="in place of the checkout")
    options = parser.parse_args(arguments)
    if jax.default_backend() == "cpu":
        parser.exit(2, "error: JAX finds no accelerator; `python -m benchmarks` measures CPUs\n")
    try:
        folders = [
            store.prepare_folder(options.out / name) for name in ("benchmarks", "docs", "figures")
        ]
    except OSError as error:
        parser.exit(2, f"error: {error}\n")
    start = time.perf_counter()
    described = machine.describe({})
    # Each part in a process of its own, so that peaks are its own.
    device = {name: in_process(MODULE, [name, numbers], {}) for name, (_, numbers) in PARTS.items()}
    cpu = {
        "sgld": on_cpu(MODULE, ["sgld", CHAINS_ON_CPU]),
        "smc": on_cpu(MODULE, ["smc", DATA_SETS_ON_CPU], devices=os.cpu_count() or 1),
    }
    results = {
        "machine": described,
        "minutes": (time.perf_counter() - start) / 60,
        "device": device,
        "cpu": cpu,
    }
    write(results, folders)
    print(markdown(results))


def write(results: Mapping[str, Any], folders: Sequence[Path]) -> None:
    """JSON, document and figure into these three folders."""
    store.write_json(results, folders[0] / f"{NAME}.json")
    with store.replace_file(folders[1] / f"{NAME}.md") as temporary:
        temporary.write_text(markdown(results), "utf-8")
    plotting.save_figure(draw(results), NAME, folders[2])


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("["):
        part, asked = json.loads(sys.argv[1])
        print(json.dumps(PARTS[part][0](asked)))
    else:
        # This process would otherwise hold the memory that those of the parts need.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        main()
