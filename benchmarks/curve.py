"""One free-energy curve to 0.1 nats: our SMC against the loops that users write with the peers."""

import importlib
import time
from typing import Any

import jax
import numpy as np

from benchmarks import blackjax_loop, numpyro_loop
from benchmarks.timing import Row, times
from slt_jax.curves.jobs import batch_keys, sampled_jobs
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.run.compilation import CompilationCounter
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Statistics

PROBLEM = "tanh_3"
TARGET_SE = 0.1
STEP_SIZE = 0.4
OURS = "slt_jax"
AIMS = {"numpyro": 30.0, "blackjax": 3.0, "blackjax, our likelihood": 3.0}


def measure(quick: bool) -> dict[str, Any]:
    """Costs of each method, in seconds, and how far its F_n is from the oracle's, in nats.

    A method has ``compile_seconds``, ours with the making of data, and ``sampling_seconds`` by
    n of the whole curve, measured or extrapolated as ``measured`` says; ``standard_error`` by
    n, of one data set; ``error`` by n, the mean difference to the oracle over the data sets that
    were run; and ``total_seconds`` to the standard error asked for.
    """
    problem = named_problems()[PROBLEM]
    sizes = [30, 100] if quick else [100, 1000, 10_000]
    data_sets = 2 if quick else 16
    key = jax.random.key(0)
    all_statistics = statistics_along_n(problem, key, data_sets, sizes)
    oracle = oracle_for(problem, 1)
    if oracle is None:
        raise ValueError(f"{PROBLEM} has no oracle to compare with")
    exact = [-oracle.log_evidence(statistics).value for statistics in all_statistics]
    methods: dict[str, Any] = {OURS: _ours(problem, key, sizes, exact, quick)}
    for package, run in (("numpyro", numpyro_loop.measure), ("blackjax", blackjax_loop.measure)):
        methods |= peer(package, run, problem, key, sizes, all_statistics, exact, quick)
    for timings in methods.values():
        if "missing" not in timings:
            timings["total_seconds"] = _to_standard_error(timings)
    return {"sizes": sizes, "data_sets": data_sets, "target": TARGET_SE, "methods": methods}


def peer(package: str, run: Any, *arguments: Any) -> dict[str, dict[str, Any]]:
    """The result of ``run`` by method, or that the package of these methods is missing."""
    try:
        importlib.import_module(package)
    except ImportError:
        return {name: {"missing": package} for name in AIMS if name.startswith(package)}
    return run(*arguments)


def _to_standard_error(timings: dict[str, Any]) -> float:
    """Compilation once, and sampling in proportion to the inverse square of the error."""
    factors = [(se / TARGET_SE) ** 2 for se in timings["standard_error"]]
    if timings["ours"]:
        factors = [max(1.0, factor) for factor in factors]
    scaled = np.multiply(timings["sampling_seconds"], factors)
    return float(timings["compile_seconds"] + scaled.sum())


def _ours(
    problem: Problem, key: jax.Array, sizes: list[int], exact: list[np.ndarray], quick: bool
) -> dict[str, Any]:
    """The whole curve with its data and compilations, all timed."""
    settings = SMCSettings(num_chains=8, chain_length=8) if quick else SMCSettings()
    seeds, data_sets = 3, len(exact[0])
    jax.clear_caches()
    spent, standard_errors, errors = [], [], []
    with CompilationCounter() as clock:
        beginning = time.perf_counter()
        all_statistics: list[Statistics] = statistics_along_n(problem, key, data_sets, sizes)
        for n, statistics, of_oracle in zip(sizes, all_statistics, exact, strict=True):
            start, compiled = time.perf_counter(), clock.seconds
            keys = batch_keys(jax.random.key(1), n, data_sets, seeds)
            jobs = sampled_jobs(problem, n, statistics, keys, settings, STEP_SIZE)
            spent.append(time.perf_counter() - start - (clock.seconds - compiled))
            standard_errors.append(float(np.sqrt(np.mean(jobs["normalised_free_energy_se"] ** 2))))
            errors.append(float(np.mean(jobs["normalised_free_energy"].to_numpy() - of_oracle)))
    return {
        "ours": True,
        "compile_seconds": time.perf_counter() - beginning - sum(spent),
        "sampling_seconds": spent,
        "standard_error": standard_errors,
        "error": errors,
        "measured": f"in full with its data, {seeds} seeds of {settings.num_particles} particles",
    }


def rows(timings: dict[str, Any]) -> list[Row]:
    """Our time, and for each peer how much longer it takes."""
    methods = timings["methods"]
    own = methods[OURS]
    sizes = ", ".join(map(str, timings["sizes"]))
    table = [
        Row(
            f"curve, {OURS}",
            f"{own['total_seconds']:.0f} s ({own['compile_seconds']:.0f} s before sampling)",
            how=f"{PROBLEM}, n = {sizes}, {timings['data_sets']} data sets, standard error ≤ "
            f"{timings['target']} nats each, cold; {_accuracy(own)}; {own['measured']}",
        )
    ]
    for name, aim in AIMS.items():
        other = methods[name]
        if "missing" in other:
            how = f"the package {other['missing']} is not installed"
            table.append(Row(f"curve, {name}", "missing", f"≥ {aim:g}×", None, how))
            continue
        ratio = other["total_seconds"] / own["total_seconds"]
        how = (
            f"{other['total_seconds']:.0f} s over ours, scaled to {timings['target']} nats; "
            f"{_accuracy(other)}; {other['measured']}"
        )
        table.append(Row(f"curve, {name}", times(ratio), f"≥ {aim:g}×", ratio >= aim, how))
    return table


def _accuracy(timings: dict[str, Any]) -> str:
    measured = ", ".join("—" if e is None else f"{e:+.2f}" for e in timings["error"])
    errors = ", ".join(f"{se:.2f}" for se in timings["standard_error"])
    return f"standard error {errors}, mean error {measured} nats by n"
