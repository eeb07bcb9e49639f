"""Experiments from the command line, in this process, and what a run leaves behind."""

import contextlib
import functools
import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import xarray as xr

from slt_jax.report.main import main
from slt_jax.run.store import read_dataset

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py"))


class Finished(NamedTuple):
    """The traces that a command line left behind."""

    status: int
    out: str
    err: str


def command(name: str, *arguments: object) -> Finished:
    """The command line of an experiment in this process."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", [name, *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main(f"experiments.{name}")
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
    return Finished(status, out.getvalue(), err.getvalue())


def experiment(name: str) -> Any:
    """The package of an experiment: its question, ``Config`` and ``PRESETS``."""
    return importlib.import_module(f"experiments.{name}")


class Run(NamedTuple):
    """A finished run of an experiment and what it wrote."""

    name: str
    finished: Finished
    folder: Path

    @property
    def dataset(self) -> xr.Dataset:
        return read_dataset(self.folder / f"{self.name}.nc")

    @property
    def verdict(self) -> dict[str, Any]:
        return json.loads((self.folder / f"{self.name}.json").read_text("utf-8"))


def run(name: str, folder: Path, *arguments: object) -> Run:
    """The smoke preset with further arguments, which must end well."""
    finished = command(name, "--preset", "smoke", "--out", folder, *arguments)
    assert finished.status == 0, finished.err
    return Run(name, finished, folder)


@functools.cache
def finished_run(name: str, folder: Path) -> Run:
    """The smoke run of an experiment, once for all tests that look at it, which leave it alone."""
    return run(name, folder / "out", "--figures-dir", folder / "figures")


def assert_refused(finished: Finished, words: str) -> None:
    """A command line that ended in one line of refusal, which has the words."""
    assert finished.status == 2
    assert finished.out == ""
    lines = finished.err.splitlines()
    assert len(lines) == 1, finished.err
    assert lines[0].startswith("error: ")
    assert words in lines[0]
