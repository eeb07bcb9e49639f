"""Command line of an experiment: presets, every Config field as a flag, errors as one line."""

import argparse
import contextlib
import dataclasses
import io
import itertools
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tyro
import xarray as xr

from slt_jax.report import plotting
from slt_jax.run import hosts, store
from slt_jax.run.compilation import keep_compilations
from slt_jax.run.run_store import RunStore, Worker
from slt_jax.run.sweep import Batch, Interrupted, Unfinished, run_batches


@dataclass(frozen=True)
class ExperimentConfig:
    """What every experiment has; subclasses add their own fields, each with its help."""

    preset: str = "laptop"
    """starting point for all other fields; the experiment's help names the choices"""
    seed: int = 0
    """seed of all data sets and samplers"""
    out: Path | None = None
    """folder for results, made if missing; by default results/EXPERIMENT/PRESET, with a hash
    after the preset if other flags change its numbers"""
    figures_dir: Path | None = None
    """also copy the figure and the verdict to this folder"""
    restart: bool = False
    """discard the batches in the folder instead of going on from them"""
    memory: float | None = None
    """GiB that a batch may use on each device; by default half of its memory, 2 on CPUs"""
    worker: str = "0/1"
    """i/N: compute the i-th of N shares; start N of these, on any hosts that share the folder"""
    coordinator: str | None = None
    """join processes by JAX's runtime: HOST:PORT of the first, or auto (Slurm, MPI, TPU pods)"""
    num_processes: int | None = None
    """how many processes join, where the cluster does not say"""
    process_id: int | None = None
    """which of them this one is, from 0, where the cluster does not say"""

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that determine the numbers, and not where, when or on what they are made."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in EXECUTION_FIELDS
        }

    @property
    def budget(self) -> int | None:
        """``memory`` in bytes."""
        return None if self.memory is None else int(self.memory * 2**30)


POLL_SECONDS = 0.5
EXECUTION_FIELDS = {f.name for f in dataclasses.fields(ExperimentConfig)} - {"seed"}


C = TypeVar("C", bound=ExperimentConfig)


def run_experiment(
    name: str, description: str, presets: Mapping[str, C], run: Callable[[C], None]
) -> None:
    """Parse the command line into a config and run the experiment; exits the process.

    ``--preset NAME`` picks the defaults, every other flag overrides one field. A ValueError or
    OSError becomes one line on standard error and exit status 2, a signal status 128 + its
    number; a worker that has done its share, while others have not, ends with status 0.
    """
    try:
        config = parse(name, description, presets, sys.argv[1:])
        if config.out is None:
            folder = default_folder(name, config, presets[config.preset])
            config = dataclasses.replace(config, out=folder)
        keep_compilations()
        hosts.join(config.coordinator, config.num_processes, config.process_id)
        run(config)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except Unfinished as state:
        print(state, file=sys.stderr)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(128 + interruption.signal_number)
    except KeyboardInterrupt:
        print("interrupted; no result was written", file=sys.stderr)
        sys.exit(130)


def default_folder(name: str, config: ExperimentConfig, preset: ExperimentConfig) -> Path:
    """A folder of its own for every configuration, so that none is in another's way."""
    changed = config.identity != preset.identity
    suffix = f"-{store.config_hash(config.identity)[:6]}" if changed else ""
    return Path("results") / name / f"{config.preset}{suffix}"


def compute(
    name: str, config: ExperimentConfig, groups: Mapping[str, Sequence[Batch]]
) -> tuple[Path, dict[str, xr.Dataset]]:
    """The folder of a run, and its batches: saved as they finish, resumed, shared out.

    Raises what ``RunStore`` and ``run_batches`` raise; of processes that were joined, all but the
    first end in Unfinished when all batches are saved.
    """
    out = config.out or default_folder(name, config, config)
    for folder in (out, config.figures_dir):
        if folder is not None:
            store.prepare_folder(folder)
    worker = Worker.parse(config.worker)
    if hosts.are_joined():
        if worker.count > 1:
            raise ValueError(f"worker {config.worker}: joined processes share out the work alone")
        worker = hosts.worker()
    with RunStore(out, config.identity, worker, config.restart) as run_store:
        if hosts.are_joined():
            with contextlib.suppress(Unfinished):
                run_batches(groups, run_store, name)
            names = [batch.name for group in groups.values() for batch in group]
            while not all(map(run_store.holds, names)):
                time.sleep(POLL_SECONDS)
            if worker.index > 0:
                raise Unfinished(f"process {worker.index} is done; process 0 writes the results")
        return out, run_batches(groups, run_store, name)


def publish(
    name: str,
    config: ExperimentConfig,
    out: Path,
    dataset: xr.Dataset,
    verdict: Mapping[str, Any],
    figures: Mapping[str, plotting.Figure],
) -> None:
    """Write dataset, verdict and ``figures`` by their file names, with the run's provenance.

    The verdict and the figures go to the config's ``figures_dir`` too. Raises OSError where a
    folder cannot be written.
    """
    provenance = store.provenance(config)
    store.write_dataset(dataset.assign_attrs(provenance), out / f"{name}.nc")
    places = [place for place in (out, config.figures_dir) if place is not None]
    for place in places:
        store.write_json({**verdict, "provenance": provenance}, place / f"{name}.json")
    for stem, figure in figures.items():
        plotting.save_figure(figure, stem, *places)
    what = "figure" if len(figures) == 1 else "figures"
    print(f"written to {out}: {name}.nc, .json and {what}", file=sys.stderr)


def parse(name: str, description: str, presets: Mapping[str, C], arguments: list[str]) -> C:
    """The config that a command line asks for.

    Raises ValueError for an unknown preset or flag, for a value of the wrong type and for a seed
    that is not one of 32 bits.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default=next(iter(presets)))
    chosen, rest = first.parse_known_args(arguments)
    if chosen.preset not in presets:
        raise ValueError(f"preset {chosen.preset!r}: choose from {', '.join(presets)}")
    default = presets[chosen.preset]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            config = tyro.cli(
                type(default),
                prog=f"python -m experiments.{name}",
                description=f"{description} Presets: {', '.join(presets)}.",
                default=default,
                args=rest,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ValueError(_first_paragraph(said.getvalue())) from None
    if not 0 <= config.seed < 2**32:
        raise ValueError(f"seed = {config.seed}: must be from 0 to 2³² − 1")
    if config.memory is not None and not 0 < config.memory < math.inf:
        raise ValueError(f"memory = {config.memory}: must be a positive number of GiB")
    Worker.parse(config.worker)
    return config


def _first_paragraph(boxed: str) -> str:
    """What a box of the command-line library says before its first rule, without the frame."""
    lines = [line.strip("│╭╮╰╯ ") for line in boxed.splitlines()[1:]]
    until_rule = itertools.takewhile(lambda line: line.strip("─"), lines)
    return " ".join(until_rule)
