"""The study: λ of every teacher and student by theorem, and free energies of the cells compared."""

import functools
import itertools
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from slt_jax.curves.collapsed import collapsed_free_energies
from slt_jax.curves.jobs import batch_keys, exact_jobs
from slt_jax.data import statistics_along_n
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.run.sweep import Task
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Statistics

from . import Config
from .families import FAMILIES, problem_of

# The cell that is sampled although an oracle answers it in a moment, to hold one to the other.
CHECKED = ("tanh", 1, 2)
REFINEMENT = 1


class Cell(NamedTuple):
    """A student of a teacher, both of one family, with the n of its free energies."""

    family: str
    teacher: int
    student: int
    spacing: float
    sizes: tuple[int, ...]

    @property
    def slug(self) -> str:
        """A name for tasks and axes."""
        return f"{self.family}.{self.teacher}_in_{self.student}.{self.spacing:g}"


def cells(config: Config) -> list[Cell]:
    """List the slim teacher, the wider teacher and the wider student, and tanh nets without λ."""
    chosen: dict[str, Cell] = {}

    def add(family: str, teacher: int, student: int, spacing: float, sizes: Any) -> None:
        cell = Cell(family, teacher, student, spacing, tuple(sizes))
        chosen.setdefault(cell.slug, cell)

    for slug, family in FAMILIES.items():
        if family.model is None:
            continue
        biased = slug == "biased_relu"
        slims = config.biased_slim_widths if biased else config.slim_widths
        sizes = config.biased_sizes if biased else config.sizes
        spacings = config.biased_spacings if biased else config.spacings
        for spacing, slim in itertools.product(spacings, slims):
            if slim + 1 <= family.widest_teacher:
                add(slug, slim, slim + 1, spacing, sizes)
                add(slug, slim + 1, slim + 1, spacing, sizes)
                add(slug, slim, slim + 2, spacing, sizes)
    add(*CHECKED, config.spacings[0], config.sizes)
    for student in range(3, config.max_width + 1):
        for teacher in range(1, student - 1):
            add("tanh", teacher, student, config.spacings[0], config.grid_sizes)
    return list(chosen.values())


def tasks(config: Config) -> list[Task]:
    """List all work, cell by cell; those of one family and student share compiled programs."""
    ordered = sorted(cells(config), key=lambda cell: (cell.family, cell.student))
    return [
        Task(cell.slug, functools.partial(free_energies, config, cell), cell.family)
        for cell in ordered
    ]


def free_energies(config: Config, cell: Cell) -> xr.Dataset:
    """Compute F_n − nL_n(w₀) of nested data sets at each n, ``normalised_free_energy``.

    Axes [n, replicate]. Data set r has the same inputs and the same noise in all cells of a family.
    ``…_se`` is the Monte-Carlo error of one data set, 0 by an oracle; ``exact_…`` with its bound is
    what the oracle says beside samples, NaN where it is not asked. ``converged`` and ``reason`` say
    what became of the samples.
    """
    family, biased = FAMILIES[cell.family], cell.family == "biased_relu"
    data_sets = config.biased_data_sets if biased else config.data_sets
    problem = problem_of(*cell[:4], config.noise)
    data_key, sampler_key = jax.random.split(jax.random.key(config.seed))
    if family.block is None:
        along_n = statistics_along_n(problem, data_key, data_sets, cell.sizes)
        answers = [_exact(problem, n, s) for n, s in zip(cell.sizes, along_n, strict=True)]
        return _along(cell.sizes, [_as_if_sampled(answer) for answer in answers])
    widest = max(other.student for other in cells(config) if other.family == cell.family)
    host = problem_of(cell.family, cell.teacher, widest, cell.spacing, config.noise)
    along_n = statistics_along_n(host, data_key, data_sets, cell.sizes)
    sampler_key = jax.random.fold_in(sampler_key, zlib.crc32(cell.slug.encode()))
    chains = config.biased_num_chains if biased else config.num_chains
    settings = SMCSettings(num_chains=chains, chain_length=config.chain_length)
    present = np.where(np.arange(widest) < cell.student, 1.0, 0.0)
    kept = ["normalised_free_energy", "normalised_free_energy_se", "converged", "reason"]
    rows = []
    for n, statistics in zip(cell.sizes, along_n, strict=True):
        keys = batch_keys(sampler_key, n, data_sets, config.seeds)
        sampled = collapsed_free_energies(
            host, n, statistics, keys, settings, family.block, present, config.budget
        )
        rows.append(sampled[kept])
    samples = _along(cell.sizes, rows)
    if cell[:3] != CHECKED:
        return samples
    along_n = statistics_along_n(problem, data_key, data_sets, cell.sizes)
    answers = [_exact(problem, n, s) for n, s in zip(cell.sizes, along_n, strict=True)]
    return samples.merge(_along(cell.sizes, answers))


def _along(sizes: tuple[int, ...], rows: list[xr.Dataset]) -> xr.Dataset:
    return xr.concat(rows, dim=xr.Variable("n", list(sizes)))


def _exact(problem: Problem, n: int, statistics: Statistics) -> xr.Dataset:
    """Ask the oracle for the free energies of all data sets."""
    oracle = oracle_for(problem, REFINEMENT)
    assert oracle is not None
    answer = exact_jobs(oracle, n, statistics, with_energies=False)
    return answer.rename({name: f"exact_{name}" for name in answer.data_vars})


def _as_if_sampled(exact: xr.Dataset) -> xr.Dataset:
    """Give exact free energies the names of samples without an error."""
    value = exact["exact_normalised_free_energy"]
    return exact.assign(
        normalised_free_energy=value,
        normalised_free_energy_se=0 * value,
        converged=("replicate", np.ones(value.size, bool)),
        reason=("replicate", np.array([""] * value.size, dtype=object)),
    )


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Make one labelled dataset of the table of λ and of all cells [cell, n, replicate].

    ``cell_family``, ``cell_teacher``, ``cell_student`` and ``cell_spacing`` [cell] say what a cell
    is, ``converged_share`` [cell, n] how many of its data sets converged, and ``is_sampled`` [cell]
    whether it was sampled. NaN stands at the n and for the data sets that a cell does not have.
    """
    chosen = cells(config)
    most = max(config.data_sets, config.biased_data_sets)
    plain = [_with_shares(results[cell.slug].drop_attrs(), most) for cell in chosen]
    curves = xr.concat(plain, dim=xr.Variable("cell", [cell.slug for cell in chosen]), join="outer")
    names = [FAMILIES[cell.family].name for cell in chosen]
    sampled = [FAMILIES[cell.family].block is not None for cell in chosen]
    curves = curves.assign(
        cell_family=("cell", names),
        cell_teacher=("cell", [cell.teacher for cell in chosen]),
        cell_student=("cell", [cell.student for cell in chosen]),
        cell_spacing=("cell", [cell.spacing for cell in chosen]),
        is_sampled=("cell", sampled),
        noise=config.noise,
    )
    return curves.merge(coefficients(config.max_width))


def _with_shares(curve: xr.Dataset, most: int) -> xr.Dataset:
    """Replace what became of each data set by the share that converged, and pad to so many."""
    share = curve["converged"].astype(float).mean("replicate")
    energies = curve.drop_vars(["converged", "reason"])
    padded = energies.pad(replicate=(0, most - energies.sizes["replicate"]))
    return padded.assign(converged_share=share)


def coefficients(max_width: int) -> xr.Dataset:
    """Tabulate λ and m [family, teacher, student] where a theorem gives them, else NaN and 0.

    ``largest_coefficient`` [family, student] is the largest λ that a teacher of that student has,
    and ``relative_coefficient`` is λ over it.
    """
    families = list(FAMILIES.values())
    shape = (len(families), max_width + 1, max_width)
    values, orders = np.full(shape, np.nan), np.zeros(shape, int)
    fractions, sources = np.full(shape, "", object), np.full(shape, "", object)
    for f, family in enumerate(families):
        for student in range(1, max_width + 1):
            for teacher in range(min(student, family.widest_teacher) + 1):
                known = family.known(teacher, student)
                if known is not None:
                    at = f, teacher, student - 1
                    values[at], orders[at] = float(known.learning_coefficient), known.multiplicity
                    fractions[at], sources[at] = str(known.learning_coefficient), known.source
    axes = ("family", "teacher", "student")
    table = xr.Dataset(
        {
            "learning_coefficient": (axes, values),
            "exact_learning_coefficient": (axes, fractions.astype(str)),
            "multiplicity": (axes, orders),
            "source": (axes, sources.astype(str)),
        },
        coords={
            "family": [family.name for family in families],
            "teacher": list(range(max_width + 1)),
            "student": list(range(1, max_width + 1)),
        },
    )
    largest = table["learning_coefficient"].max("teacher")
    return table.assign(
        largest_coefficient=largest,
        relative_coefficient=table["learning_coefficient"] / largest,
    )
