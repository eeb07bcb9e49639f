"""Batches side by side: order, resumption, shares, signals, errors."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from slt_jax.run.run_store import RunStore, Worker
from slt_jax.run.sweep import Interrupted, Task, Unfinished, run_tasks

CODE = "0" * 64


class Work:
    """Groups of tasks that note what was computed."""

    def __init__(self, groups: int = 2, size: int = 3) -> None:
        self.computed: list[str] = []
        self.tasks = [
            self._task(f"g{g}.{i}", 10 * g + i) for g in range(groups) for i in range(size)
        ]

    def _task(self, name: str, value: int) -> Task:
        def compute() -> xr.Dataset:
            self.computed.append(name)
            return xr.Dataset({"x": ("replicate", np.random.default_rng(value).normal(size=3))})

        return Task(name, compute, name.split(".")[0])

    @property
    def names(self) -> list[str]:
        return [task.name for task in self.tasks]


def numbers(results: dict[str, xr.Dataset]) -> dict[str, list[float]]:
    return {name: dataset["x"].to_numpy().tolist() for name, dataset in results.items()}


def replaced(tasks: list[Task], name: str, compute: Callable[[], xr.Dataset]) -> list[Task]:
    return [task._replace(compute=compute) if task.name == name else task for task in tasks]


def test_results_come_by_name_in_the_order_asked_for() -> None:
    work = Work(5)
    results = run_tasks(work.tasks)
    assert list(results) == work.names
    assert sorted(work.computed) == sorted(work.names)
    for group in {task.group for task in work.tasks}:
        order = [work.computed.index(task.name) for task in work.tasks if task.group == group]
        assert order == sorted(order)


def test_no_batch_no_result() -> None:
    assert run_tasks([]) == {}


def test_names_must_differ() -> None:
    task = Task("same", xr.Dataset)
    with pytest.raises(ValueError, match="same"):
        run_tasks([task, task._replace(group="b")])


def test_what_is_on_disk_is_not_computed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = Work(), Work()
    with RunStore(tmp_path, {}, CODE) as run_store:
        fresh = run_tasks(first.tasks, run_store, "work")
    capsys.readouterr()
    (tmp_path / "tasks").joinpath(
        next(p.name for p in (tmp_path / "tasks").glob("g1.1.*.nc"))
    ).write_bytes(b"damaged")
    with RunStore(tmp_path, {}, CODE) as run_store:
        resumed = run_tasks(second.tasks, run_store, "work")
    assert second.computed == ["g1.1"]
    assert list(resumed) == list(fresh)
    assert numbers(resumed) == numbers(fresh)
    err = capsys.readouterr().err
    assert "work: task g1.1 is damaged: computed again" in err
    assert "work: 5 of 6 tasks are already on disk" in err
    assert "work: 6/6 g1.1 in " in err


def test_workers_share_and_the_last_one_has_it_all(tmp_path: Path) -> None:
    works = [Work() for _ in range(3)]
    for index in (0, 2):
        with (
            RunStore(tmp_path, {}, CODE, Worker(index, 3)) as run_store,
            pytest.raises(Unfinished, match=rf"worker {index}/3 has done its share; \d of 6"),
        ):
            run_tasks(works[index].tasks, run_store)
    with RunStore(tmp_path, {}, CODE, Worker(1, 3)) as run_store:
        results = run_tasks(works[1].tasks, run_store)
    assert numbers(results) == numbers(run_tasks(Work().tasks))
    assert [len(work.computed) for work in works] == [2, 2, 2]
    assert len({name for work in works for name in work.computed}) == 6


def test_without_shares_what_a_dead_worker_left_is_done(tmp_path: Path) -> None:
    for index in (0, 1):
        share = RunStore(tmp_path, {}, CODE, Worker(index, 3))
        with contextlib.suppress(Unfinished), share as run_store:
            run_tasks(Work().tasks, run_store)
    rest = Work()
    with RunStore(tmp_path, {}, CODE) as run_store:
        results = run_tasks(rest.tasks, run_store)
    assert len(rest.computed) == 2
    assert numbers(results) == numbers(run_tasks(Work().tasks))


def test_the_first_error_is_raised_and_ends_the_rest(tmp_path: Path) -> None:
    work = Work(20, 3)
    lock, begun = threading.Lock(), []

    def fail() -> xr.Dataset:
        raise ValueError("task g0.1 is wrong")

    def slowly(task: Task) -> Callable[[], xr.Dataset]:
        def compute() -> xr.Dataset:
            with lock:
                begun.append(task.name)
            time.sleep(0.02)
            return task.compute()

        return compute

    tasks = [
        task._replace(compute=fail if task.name == "g0.1" else slowly(task)) for task in work.tasks
    ]
    with (
        RunStore(tmp_path, {}, CODE) as run_store,
        pytest.raises(ValueError, match=r"task g0\.1 is wrong"),
    ):
        run_tasks(tasks, run_store)
    assert len(begun) < 30
    saved = {path.name.rsplit(".", 2)[0] for path in (tmp_path / "tasks").glob("*.nc")}
    assert saved == set(begun)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_tasks_in_progress(number: signal.Signals, tmp_path: Path) -> None:
    work = Work(1, 4)
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

    def interrupted() -> xr.Dataset:
        os.kill(os.getpid(), number)
        time.sleep(0.1)
        return work.tasks[1].compute()

    with (
        RunStore(tmp_path, {}, CODE) as run_store,
        pytest.raises(Interrupted, match="interrupted; 2 of 4 tasks are saved") as caught,
    ):
        run_tasks(replaced(work.tasks, "g0.1", interrupted), run_store)
    assert caught.value.status == 128 + number
    assert work.computed == ["g0.0", "g0.1"]
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    rest = Work(1, 4)
    with RunStore(tmp_path, {}, CODE) as run_store:
        results = run_tasks(rest.tasks, run_store)
    assert rest.computed == ["g0.2", "g0.3"]
    assert numbers(results) == numbers(run_tasks(Work(1, 4).tasks))


def test_a_batch_that_cannot_be_written_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(1, 3)
    save = RunStore.save

    def full(self: RunStore, name: str, task: xr.Dataset) -> None:
        if name == "g0.1":
            raise OSError(28, "No space left on device")
        save(self, name, task)

    monkeypatch.setattr(RunStore, "save", full)
    with RunStore(tmp_path, {}, CODE) as run_store, pytest.raises(OSError, match="No space left"):
        run_tasks(work.tasks, run_store)
    monkeypatch.undo()
    rest = Work(1, 3)
    with RunStore(tmp_path, {}, CODE) as run_store:
        run_tasks(rest.tasks, run_store)
    assert rest.computed == ["g0.1", "g0.2"]
