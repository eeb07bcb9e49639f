"""Command line of an experiment: presets, every Config field as a flag, errors as one line."""

import argparse
import contextlib
import io
import itertools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import tyro


@dataclass(frozen=True)
class ExperimentConfig:
    """What every experiment has; subclasses add their own fields, each with its help."""

    preset: str = "laptop"
    """starting point for all other fields; the experiment's help names the choices"""
    out: Path = field(default=Path("results"))
    """folder for results (made if missing)"""
    figures_dir: Path | None = None
    """also copy the figure and the verdict to this folder"""
    seed: int = 0
    """seed of all data sets and samplers"""


C = TypeVar("C", bound=ExperimentConfig)


def run_experiment(
    name: str, description: str, presets: Mapping[str, C], run: Callable[[C], None]
) -> None:
    """Parse the command line into a config and run the experiment; exits the process.

    ``--preset NAME`` picks the defaults, every other flag overrides one field. A ValueError or
    OSError becomes one line on standard error and exit status 2, an interrupt status 130.
    """
    try:
        run(parse(name, description, presets, sys.argv[1:]))
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; no result was written", file=sys.stderr)
        sys.exit(130)


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
    return config


def _first_paragraph(boxed: str) -> str:
    """What a box of the command-line library says before its first rule, without the frame."""
    lines = [line.strip("│╭╮╰╯ ") for line in boxed.splitlines()[1:]]
    until_rule = itertools.takewhile(lambda line: line.strip("─"), lines)
    return " ".join(until_rule)
