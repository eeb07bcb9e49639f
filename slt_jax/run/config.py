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
import operator
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

from slt_jax.validation import (
    KINDS,
    Positive,
    ProblemSpecs,
    Within,
    annotations_of,
    check_fields,
    suggestion,
)

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


def parse(program: str, description: str, presets: Mapping[str, C], arguments: Sequence[str]) -> C:
    """The config that a command line asks for: a preset with the fields that flags override.

    ``program`` is how the experiment is started. ``--help`` prints every field with its bounds and
    ends the process. Raises ValueError for an unknown preset or flag, with the nearest that there
    is, and for a value that the config refuses.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--preset", default=next(iter(presets)))
    try:
        chosen, rest = first.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None
    if chosen.preset not in presets:
        raise ValueError(f"preset {chosen.preset!r}: {suggestion(chosen.preset, presets)}")
    default = presets[chosen.preset]
    _refuse_unknown_flags(type(default), rest)
    import tyro  # which the library does without

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            given = tyro.cli(
                _with_bounds_in_help(type(default)),
                prog=program,
                description=f"{description} Presets: {', '.join(presets)}.",
                default=default,
                args=rest,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ValueError(_refusal(type(default), said.getvalue())) from None
    return type(default)(**{f.name: getattr(given, f.name) for f in dataclasses.fields(default)})


def command_line(
    program: str, presets: Mapping[str, ExperimentConfig], config: ExperimentConfig
) -> str:
    """The shortest command that makes the numbers of a configuration: its preset and other fields.

    It has no flag that says where, when or on what they are made.
    """
    default = presets[config.preset].identity
    words = [program, "--preset", config.preset]
    for name, value in config.identity.items():
        if value != default[name]:
            words += _flag(name, value)
    return " ".join([words[0], *map(shlex.quote, words[1:])])


def _flag(name: str, value: Any) -> list[str]:
    """The words that give a field its value."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", *map(str, _flat(value))]


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for entry in value:
            yield from _flat(entry)
    else:
        yield value


def _refuse_unknown_flags(family: Any, arguments: Sequence[str]) -> None:
    """Raise ValueError, with the nearest flag that there is, for one that is no field."""
    flags = ["--help"]
    for name, declared in annotations_of(family).items():
        flag = name.replace("_", "-")
        flags += [f"--{flag}", *([f"--no-{flag}"] if declared is bool else [])]
    for argument in arguments:
        flag = argument.split("=")[0].replace("_", "-")
        if flag.startswith("--") and flag not in flags:
            nearest = suggestion(flag, flags)
            # All of them would be many lines.
            hint = nearest if nearest.startswith("did") else "--help lists all flags"
            raise ValueError(f"unknown flag {argument.split('=')[0]}: {hint}")


def _with_bounds_in_help(family: type[C]) -> type[C]:
    """The fields of a configuration, unchecked, whose help gives bounds beside the default."""
    import tyro

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


def _refusal(family: Any, boxed: str) -> str:
    """The first paragraph of the command-line library's box, or what a field allows instead."""
    # Where the output takes ASCII alone, the frame is of minus signs, with one more rule.
    lines = [line.strip("│╭╮╰╯─- ") for line in boxed.splitlines()[1:]]
    said = " ".join(itertools.takewhile(bool, itertools.dropwhile(operator.not_, lines)))
    parsing = re.match(r"Error parsing --([\w-]+): ", said)
    values = re.findall(r"'([^']*)'", said)
    declared = annotations_of(family)
    field = parsing.group(1).replace("-", "_") if parsing else ""
    if field not in declared or not values or not (allowed := _allowed(declared[field])):
        return said
    return f"{field} = {' '.join(values)}: must be {allowed}"


def _allowed(declared: Any) -> str:
    """The kind and the bounds of a number, or of each entry of a tuple of them; else nothing."""
    bounds: list[Any] = []
    if get_origin(declared) is Annotated:
        declared, *bounds = get_args(declared)
    inner = [kind for kind in get_args(declared) if kind not in (NoneType, ...)]
    if not inner:
        return " ".join([KINDS[declared][1], *map(str, bounds)]) if declared in KINDS else ""
    entry = _allowed(inner[0])
    if entry and not entry.startswith("numbers") and get_origin(declared) is tuple:
        return f"numbers, each {entry}"
    return entry
