"""A run that is told to end, as a process of its own: at the next task, after a while, at once."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Two tasks that are quick and one that never ends, with less patience than usual.
SCRIPT = """
import pathlib, sys, time
import xarray as xr
from slt_jax.run import stopping
from slt_jax.run.config import Stopped
from slt_jax.run.run_store import RunStore
from slt_jax.run.sweep import Task, run_tasks

out = pathlib.Path(sys.argv[1])
stopping.GRACE_SECONDS = float(sys.argv[2])

def endless():
    (out / "endless").touch()
    time.sleep(60)

one = xr.Dataset({"x": 1.0})
work = {"a": lambda: one, "b": lambda: one, "endless": endless, "c": endless}
tasks = [Task(name, compute) for name, compute in work.items()]
try:
    with RunStore(out, {}, "code") as store:
        run_tasks(tasks, store, "work")
except Stopped as stop:
    sys.exit(stop.status)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Start the script with an end of patience, and wait until it is where it never ends."""
    processes: list[subprocess.Popen[str]] = []

    def started(grace: float) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path), str(grace)],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        until = time.monotonic() + 60
        while not (tmp_path / "endless").exists():
            assert time.monotonic() < until
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def saved(folder: Path) -> list[str]:
    return sorted(path.name[0] for path in (folder / "tasks").iterdir() if path.suffix == ".nc")


def test_what_takes_too_long_is_given_up(start, tmp_path: Path) -> None:
    process = start(0.3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    first, last = err.splitlines()[-2:]
    assert "SIGTERM: the tasks in progress have 0.3 s to be finished and saved" in first
    assert "interrupted; 2 of 4 tasks are saved, the same command goes on from there" in last
    assert saved(tmp_path) == ["a", "b"]


def test_a_second_signal_ends_at_once(start, tmp_path: Path) -> None:
    process = start(60)
    process.send_signal(signal.SIGINT)
    while "a second signal ends at once" not in process.stderr.readline():
        assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert time.monotonic() - began < 5
    assert saved(tmp_path) == ["a", "b"]
