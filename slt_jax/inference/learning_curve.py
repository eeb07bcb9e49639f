"""Learning curves in one call: posteriors of many data sets against n, exact and sampled."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.curves.comparison import along_problems
from slt_jax.curves.errors import exact_errors
from slt_jax.curves.held_out import held_out_points
from slt_jax.curves.jobs import exact_jobs
from slt_jax.curves.posterior_runs import Sampling
from slt_jax.curves.sampled_curve import sampled_point
from slt_jax.data import refuse_unheld_data, simulate, statistics_along_n
from slt_jax.inference.arguments import checked_problem
from slt_jax.oracles.criteria import HeldOut, NoQuadratureError, simulated_points
from slt_jax.oracles.oracle import Oracle, oracle_for
from slt_jax.problem import Problem
from slt_jax.run.config import Worker
from slt_jax.run.provenance import fingerprint
from slt_jax.run.quantities import labelled
from slt_jax.run.run_store import RunStore
from slt_jax.run.store import prepare_folder
from slt_jax.run.sweep import Task, run_tasks
from slt_jax.samplers.arguments import check_settings
from slt_jax.samplers.sampling import SamplerSettings
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Data, Statistics
from slt_jax.validation import (
    LARGEST_SIMULATED,
    AtLeast,
    Positive,
    Within,
    check,
    check_key,
    check_kind,
    checked,
    increasing,
)

AtLeastTwo = Annotated[int, AtLeast(2)]
SizeOfWBIC = Annotated[int, Within(3, LARGEST_SIMULATED)]
SMC: SamplerSettings = SMCSettings()


def learning_curve(
    problem: Problem,
    n: Sequence[int] = (10, 30, 100, 300, 1000),
    *,
    key: Array,
    data_sets: int = 8,
    sampler: SamplerSettings = SMC,
    seeds: int = 8,
    num_chains: int = 64,
    step_size: float | None = None,
    held_out: int = 2000,
    folder: str | Path | None = None,
) -> xr.Dataset:
    """Return F_n, WBIC, λ̂ and the losses of simulated data sets against n, sampled and exact.

    Dimensions (n, replicate): a replicate is one sequence of data, of which the first n are seen.
    Total nats relative to nL_n(w₀), which is ``energy_at_optimum``: ``normalised_free_energy`` and
    ``normalised_wbic``; ``lambda_wbic``; per datum relative to w₀: ``bayes_generalisation_error``
    B_g, ``gibbs_generalisation_error`` G_g, and both for ``training``; ``functional_variance`` V_n.
    Each ``x`` has its Monte-Carlo standard error ``x_se``, and ``exact_x`` on the same data with
    the bound ``exact_x_error`` where the problem has an oracle. ``converged``, and the ``reason``
    where it is False. Generalisation errors are expectations by quadrature where the truth has
    one, and else averages over ``held_out`` simulated data, whose error is in ``x_se``. ``title``,
    ``learning_coefficient``, ``multiplicity`` and ``asymptote`` are those of the theory.

    ``sampler``, ``seeds``, ``num_chains`` and ``step_size`` are those of ``sample``. All data sets
    of one n are one program, the same for every n. With a ``folder`` each finished n is saved in
    it, and the same call goes on where it was interrupted. Every variable has a ``long_name`` and
    ``units``. Raises ValueError for arguments of a wrong type or out of range, for data that do not
    fit into memory, and as ``sample`` does.

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["linear_3"]
    >>> curve = slt.learning_curve(problem, n=[10, 100], key=jax.random.key(0), data_sets=4)
    >>> float(abs(curve.lambda_wbic - curve.exact_lambda_wbic).max()) < 0.2
    True
    """
    problem = checked_problem(problem)
    check_settings("sampler", sampler)
    check_key("key", key)
    sizes = tuple(map(int, increasing("n", n, SizeOfWBIC)))
    for name, value in (("data_sets", data_sets), ("seeds", seeds), ("num_chains", num_chains)):
        check(name, value, AtLeastTwo)
    check("held_out", held_out, AtLeastTwo)
    check_kind("folder", folder, (str, Path, NoneType), "the name of a folder")
    step_size = checked("step_size", step_size, Positive | None)
    refuse_unheld_data(problem, data_sets, sizes[-1], copies=2)
    data_key, sampler_key, points_key = jax.random.split(key, 3)
    points = _points(problem, points_key, held_out)
    oracle = oracle_for(problem)

    @functools.cache
    def drawn() -> tuple[dict[int, Statistics], Data]:
        statistics = statistics_along_n(problem, data_key, data_sets, sizes)
        each = [
            simulate(problem, jax.random.fold_in(data_key, r), sizes[-1]) for r in range(data_sets)
        ]
        padded = jax.tree.map(lambda *parts: np.stack(parts), *each)
        return dict(zip(sizes, statistics, strict=True)), padded

    def at(size: int) -> xr.Dataset:
        statistics, data = drawn()
        sampling = Sampling(problem, statistics[size], size, sampler, seeds, num_chains, step_size)
        keys = jax.random.split(jax.random.fold_in(sampler_key, size), data_sets)
        curve = sampled_point(sampling, keys, data, points)
        curve["energy_at_optimum"] = (
            "replicate",
            -np.asarray(statistics[size].log_likelihood_at_optimum, float),
        )
        return curve if oracle is None else curve.merge(_exact(oracle, size, *drawn(), points))

    tasks = [Task(f"n{size}", functools.partial(at, size)) for size in sizes]
    settings = {
        "problem": _description(problem), "n": sizes, "sampler": repr(sampler),
        "key": np.asarray(jax.random.key_data(key)).tolist(), "data_sets": data_sets,
        "seeds": seeds, "num_chains": num_chains, "step_size": step_size, "held_out": held_out,
    }  # fmt: skip
    results = _computed(tasks, settings, folder, problem.name)
    curve = xr.concat(
        [results[task.name].drop_attrs() for task in tasks], dim=xr.Variable("n", list(sizes))
    )
    curve = along_problems([problem], [curve]).squeeze("problem")
    return labelled(curve).assign_attrs(
        degrees_of_freedom=seeds - 1, sampler=type(sampler).__name__.removesuffix("Settings")
    )


def _description(problem: Problem) -> str:
    """All of a problem that numbers depend on, the same in every process."""
    parts = (problem.name, problem.model, problem.optimum, problem.truth)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(parts))


def _points(problem: Problem, key: Array, size: int) -> HeldOut:
    try:
        return held_out_points(problem)
    except NoQuadratureError:
        return simulated_points(problem, key, size)


def _exact(
    oracle: Oracle, size: int, statistics: dict[int, Statistics], data: Data, points: HeldOut
) -> xr.Dataset:
    sets = [Data(x[:size], y[:size]) for x, y in zip(*data, strict=True)]
    exact = exact_jobs(oracle, size, statistics[size], with_energies=True)
    if points.check is not None:  # an average over simulated points is not the exact expectation
        exact = exact.merge(exact_errors(oracle, sets, points))
    return exact.rename({name: f"exact_{name}" for name in exact.data_vars})


def _computed(
    tasks: list[Task], settings: dict[str, Any], folder: str | Path | None, label: str
) -> dict[str, xr.Dataset]:
    if folder is None:
        return run_tasks(tasks, label=label)
    out = Path(folder)
    prepare_folder(out)
    with RunStore(out, settings, fingerprint(Path(__file__).parent), Worker()) as store:
        return run_tasks(tasks, store, label)
