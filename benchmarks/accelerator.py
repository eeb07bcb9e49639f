"""Thousands of chains on an accelerator, beside the processor of the same machine.

    python -m benchmarks.accelerator

writes docs/benchmarks_accelerator.md, the figure and the JSON that it is made of.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import machine
from benchmarks.chains import steps_per_second
from benchmarks.timing import median_seconds, on_cpu, times
from slt_jax import plotting, store
from slt_jax.data import summaries_along_n
from slt_jax.jobs import batch_keys, sampled_jobs
from slt_jax.model import discover_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.samplers.smc import SMCSettings

ROOT = Path(__file__).parents[1]
NAME = "benchmarks_accelerator"
PROBLEM = "tanh_3"
SAMPLE_SIZE = 1000
SEEDS = 4
STEP_SIZE = 0.4
CHECKED = 16  # data sets whose exact answer is computed, a quarter of a million nodes each
MEBIBYTE = 2**20

CHAINS = (10, 100, 1000, 10_000, 100_000, 1_000_000)
CHAINS_ON_CPU = (10, 100, 1000, 10_000)
DATA_SETS = (1, 16, 256, 2048)
DATA_SETS_ON_CPU = (1, 16)


def on_this_device(chains: Sequence[int], data_sets: Sequence[int]) -> dict[str, Any]:
    """Rates and peak bytes of SGLD by chains and of SMC by data sets; sizes must increase.

    ``peak_bytes`` is the most that the process has held on its device so far, None where that
    is not counted.
    """
    sgld: dict[str, Any] = {"chains": list(chains), "rate": [], "peak_bytes": []}
    for number in chains:
        sgld["rate"].append(steps_per_second(number, 3))
        sgld["peak_bytes"].append(_peak_bytes())
        print(f"SGLD {number}: {sgld['rate'][-1]:.3g}/s", file=sys.stderr, flush=True)
    smc: dict[str, Any] = {"data_sets": list(data_sets), "rate": [], "peak_bytes": []}
    problem = discover_problems()[PROBLEM]
    jobs = None
    for number in data_sets:
        summary = summaries_along_n(problem, jax.random.key(0), number, [SAMPLE_SIZE])[0]
        keys = batch_keys(jax.random.key(1), SAMPLE_SIZE, number, SEEDS)

        def run(summary: Any = summary, keys: Any = keys) -> Any:
            nonlocal jobs
            jobs = sampled_jobs(problem, SAMPLE_SIZE, summary, keys, SMCSettings(), STEP_SIZE)
            return jobs["free_energy"].to_numpy()

        smc["rate"].append(number * SEEDS / median_seconds(run, 2))
        smc["peak_bytes"].append(_peak_bytes())
        print(f"SMC {number}: {smc['rate'][-1]:.3g} runs/s", file=sys.stderr, flush=True)
    checked = jax.tree.map(lambda leaf: leaf[:CHECKED], summary)
    exact = oracle_for(problem, 1).moments(checked).normalised_free_energy.value
    found = jobs["free_energy"].to_numpy()[:CHECKED]
    errors = jobs["free_energy_se"].to_numpy()[:CHECKED]
    smc |= {
        "converged": float(jobs["converged"].mean()),
        "checked": len(exact),
        "mean_error": float(np.mean(found - exact)),
        "mean_error_se": float(np.sqrt(np.sum(errors**2)) / len(exact)),
    }
    return {"sgld": sgld, "smc": smc}


def _peak_bytes() -> int | None:
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def markdown(results: Mapping[str, Any]) -> str:
    """docs/benchmarks_accelerator.md."""
    device, cpu = results["device"], results["cpu"]
    sgld, smc = device["sgld"], device["smc"]
    lines = [
        "# Chains on an accelerator",
        "",
        "Written by `python -m benchmarks.accelerator`. Compilation is not counted; peak is the "
        "most memory that the process has held on the device so far; the processor is that of "
        "the same machine in the same run.",
        "",
        machine.sentence(results["machine"]),
        f"It took {results['minutes']:.0f} minutes.",
        "",
        f"SGLD on a 5-5-5 linear net (50 parameters), n = {SAMPLE_SIZE}, full gradients, float32.",
        "",
        "| chains | chain-steps/s | peak [MiB] | on the processor | ratio |",
        "|---:|---:|---:|---:|---:|",
        *_lines(sgld, cpu["sgld"], "chains"),
        "",
        f"Tempered SMC of {PROBLEM} at n = {SAMPLE_SIZE}: {SEEDS} runs of "
        f"{SMCSettings().num_particles} particles for each data set, with all its estimates.",
        "",
        "| data sets | runs/s | peak [MiB] | on the processor | ratio |",
        "|---:|---:|---:|---:|---:|",
        *_lines(smc, cpu["smc"], "data_sets"),
        "",
        f"Of the {smc['data_sets'][-1]} data sets {smc['converged']:.1%} converged. On "
        f"{smc['checked']} of them the sampled F_n is {smc['mean_error']:+.3f} ± "
        f"{smc['mean_error_se']:.3f} nats from the exact one, on average.",
        "",
    ]
    return "\n".join(lines)


def _lines(device: Mapping[str, Any], cpu: Mapping[str, Any], size: str) -> list[str]:
    beside = dict(zip(cpu[size], cpu["rate"], strict=True))
    lines = []
    for number, rate, peak in zip(device[size], device["rate"], device["peak_bytes"], strict=True):
        held = "—" if peak is None else f"{peak / MEBIBYTE:.0f}"
        other = beside.get(number)
        compared = "— | —" if other is None else f"{other:.3g} | {times(rate / other)}"
        lines.append(f"| {number} | {rate:.3g} | {held} | {compared} |")
    return lines


def draw(results: Mapping[str, Any]) -> plotting.Figure:
    """Rates above, memory below; SGLD left, SMC right."""
    device, cpu = results["device"], results["cpu"]
    columns = (
        ("sgld", "chains", "chain-steps per second", "SGLD, 5-5-5 linear net"),
        ("smc", "data_sets", "runs per second", f"SMC, {PROBLEM}, {SEEDS} runs a data set"),
    )
    with plotting.matplotlib.rc_context(plotting.STYLE):
        figure = plotting.Figure(figsize=(7.6, 5.4), layout="constrained")
        rates, memory = figure.subplots(2, 2, sharex="col")
        for above, below, (name, size, unit, title) in zip(rates, memory, columns, strict=True):
            label = results["machine"]["device_kind"]
            above.loglog(
                device[name][size], device[name]["rate"], color="black", marker="o", label=label
            )
            above.loglog(
                cpu[name][size], cpu[name]["rate"], color="0.5", marker="s", linestyle="--",
                label=f"{results['machine']['cores']} CPU cores",
            )  # fmt: skip
            above.set_ylabel(unit)
            above.set_title(title)
            above.legend(fontsize=8)
            if None not in device[name]["peak_bytes"]:
                held = np.array(device[name]["peak_bytes"]) / MEBIBYTE
                below.loglog(device[name][size], held, color="black", marker="o")
            below.set_ylabel("peak memory [MiB]")
            below.set_xlabel(size.replace("_", " "))
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
    device = on_this_device(CHAINS, DATA_SETS)
    cpu = on_cpu("benchmarks.accelerator", [CHAINS_ON_CPU, DATA_SETS_ON_CPU])
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
    plotting.save_figure(draw(results), folders[2], NAME)


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("["):
        print(json.dumps(on_this_device(*json.loads(sys.argv[1]))))
    else:
        main()
