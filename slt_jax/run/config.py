"""Configuration of an experiment: presets, every field a flag, every bound said once.

A bound is the metadata of a field, ``Annotated[int, AtLeast(2)]``: it refuses other values, stands
in the help text, and tells the tests what to refuse. Nothing here imports JAX, so that help is
quick.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

import tyro

from slt_jax.validation import Positive, ProblemSpecs, Within, annotations_of, check_fields

C = TypeVar("C", bound="ExperimentConfig")


class Stopped(Exception):  # noqa: N818  (as KeyboardInterrupt, not an error)
    """A run ended before its results; the process ends with this ``status``."""

    status = 0


@dataclass(frozen=True)
class Worker:
    """The share of a run that this process computes: tasks i with i mod count = index."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Worker:
        """From "i/N", 0 ≤ i < N. Raises ValueError for anything else."""
        parts = text.split("/")
        if len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts):
            worker = cls(int(parts[0]), int(parts[1]))
            if worker.index < worker.count:
                return worker
        raise ValueError(f"worker {text!r}: must be i/N with 0 ≤ i < N, such as 0/4")


@dataclass(frozen=True)
class ExperimentConfig:
    """The fields that every experiment has; subclasses add their own, each with its help.

    Raises ValueError for a field that is not of its type or outside the bounds of its annotation,
    and for fields that do not fit together, as ``check`` of a subclass says.
    """

    preset: str = "laptop"
    """starting point for all other fields; the experiment's help names the choices"""
    seed: Annotated[int, Within(0, 2**32 - 1)] = 0
    """seed of all data sets and samplers"""
    out: Path | None = None
    """folder for results, made if missing; by default results/EXPERIMENT/PRESET, with a hash
    after the preset if other flags change its numbers"""
    figures_dir: Path | None = None
    """also copy the figure and the verdict to this folder"""
    restart: bool = False
    """discard the tasks saved in the folder instead of going on from them"""
    memory: Positive | None = None
    """GiB that a task may use on each device; by default half of its memory, 2 on CPUs"""
    worker: str = "0/1"
    """i/N: compute the i-th of N shares; start N of these, on any hosts that share the folder"""
    coordinator: str | None = None
    """join processes by JAX's runtime: HOST:PORT of the first, or auto (Slurm, MPI, TPU pods)"""
    num_processes: int | None = None
    """how many processes join, where the cluster does not say"""
    process_id: int | None = None
    """which of them this one is, from 0, where the cluster does not say"""

    def __post_init__(self) -> None:
        check_fields(self)
        Worker.parse(self.worker)
        self.check()

    def check(self) -> None:
        """Raise ValueError, naming field and value, where fields do not fit together."""

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that determine the numbers, and not where, when or on what they are made."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in EXECUTION_FIELDS
        }

    @property
    def problem_specs(self) -> tuple[str, ...]:
        """The specifications of problems in all fields that hold some, each once."""
        specs: dict[str, None] = {}
        for name, declared in annotations_of(cast(Any, type(self))).items():
            if any(isinstance(bound, ProblemSpecs) for bound in bounds_of(declared)):
                specs |= dict.fromkeys(getattr(self, name) or ())
        return tuple(specs)

    @property
    def budget(self) -> int | None:
        """``memory`` in bytes."""
        return None if self.memory is None else int(self.memory * 2**30)


EXECUTION_FIELDS = {f.name for f in dataclasses.fields(ExperimentConfig)} - {"seed"}


def bounds_of(declared: Any) -> list[Any]:
    """The bounds that an annotation declares, also of the entries of a tuple or of an optional."""
    bounds = list(get_args(declared)[1:]) if get_origin(declared) is Annotated else []
    inner = get_args(declared)[:1] if bounds else get_args(declared)
    return bounds + [bound for part in inner for bound in bounds_of(part)]


def parse(name: str, description: str, presets: Mapping[str, C], arguments: list[str]) -> C:
    """The config that a command line asks for: a preset with the fields that flags override.

    ``--help`` prints every field with its bounds and ends the process. Raises ValueError for an
    unknown preset or flag, and for a value that the config refuses.
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
            given = tyro.cli(
                _with_bounds_in_help(type(default)),
                prog=f"python -m experiments.{name}",
                description=f"{description} Presets: {', '.join(presets)}.",
                default=default,
                args=rest,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ValueError(_first_paragraph(said.getvalue())) from None
    return type(default)(**{f.name: getattr(given, f.name) for f in dataclasses.fields(default)})


def _with_bounds_in_help(family: type[C]) -> type[C]:
    """The fields of a configuration, unchecked, whose help gives bounds beside the default."""
    annotations: dict[str, Any] = {}
    declarations: dict[str, Any] = annotations_of(cast(Any, family))
    for name, declared in declarations.items():
        bounds = "; ".join(dict.fromkeys(map(str, bounds_of(declared))))
        if bounds:
            hint = functools.partial(_hint, bounds)
            annotations[name] = Annotated[declared, tyro.conf.arg(help_behavior_hint=hint)]
    members: dict[str, Any] = {"__annotations__": annotations, "__module__": family.__module__}
    members |= {name: getattr(family, name) for name in annotations}
    members["__post_init__"] = lambda self: None
    derived: Any = type(family.__name__, (family,), members)
    return dataclass(frozen=True)(derived)


def _hint(bounds: str, default: str) -> str:
    return f"({bounds}; {default.strip('()')})"


def _first_paragraph(boxed: str) -> str:
    """The first paragraph of a box that the command-line library printed, without its frame."""
    lines = [line.strip("│╭╮╰╯ ") for line in boxed.splitlines()[1:]]
    until_rule = itertools.takewhile(lambda line: line.strip("─"), lines)
    return " ".join(until_rule)
