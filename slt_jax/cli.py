"""Command line of an experiment: presets, every Config field as a flag, errors as one line."""

import argparse
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

    Raises ValueError for an unknown preset; other mistakes end the process with the library's
    message, as ``--help`` does.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default=next(iter(presets)))
    chosen, rest = first.parse_known_args(arguments)
    if chosen.preset not in presets:
        raise ValueError(f"preset {chosen.preset!r}: choose from {', '.join(presets)}")
    default = presets[chosen.preset]
    return tyro.cli(
        type(default),
        prog=f"python -m experiments.{name}",
        description=f"{description} Presets: {', '.join(presets)}.",
        default=default,
        args=rest,
    )
