"""Runs the tasks of an experiment: several at a time, saved as they finish, resumed, shared out.

What a task computes depends on the configuration alone, not on which process, worker or device
count computes it, nor on what was computed before.
"""

import concurrent.futures
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import xarray as xr

from slt_jax.run.config import Stopped, Worker
from slt_jax.run.progress import Progress
from slt_jax.run.run_store import RunStore
from slt_jax.run.stopping import Interrupted, Stop, stop_on_signals


class Task(NamedTuple):
    """A piece of work that is saved as a whole: what makes its dataset, by a name fit for a file.

    Tasks of a ``group`` share compiled programs and are done one after the other.
    """

    name: str
    compute: Callable[[], xr.Dataset]
    group: str = ""


class Unfinished(Stopped):
    """This worker has done its share and others have not."""


def run_tasks(
    tasks: Sequence[Task], run_store: RunStore | None = None, label: str = "tasks"
) -> dict[str, xr.Dataset]:
    """The datasets of all tasks, by name.

    Groups advance side by side in threads, one per processor and one more, and the tasks of a
    group one after the other, so that they can share a compiled program. With a run store, tasks
    that it holds are read and not computed, those that are computed are saved at once, and only
    the worker's share is computed. Raises Unfinished if some tasks belong to workers that have
    not done them, Interrupted after SIGINT or SIGTERM, when the tasks in progress are saved,
    and the first error of a task, when those in progress are. Tasks that a signal finds in
    progress have GRACE_SECONDS; after those, or at a second signal, the process ends.
    """
    names = _different_names(tasks)
    done: dict[str, xr.Dataset] = {}
    if run_store is not None:
        saved = {name: run_store.load(name) for name in names}
        done = {name: dataset for name, dataset in saved.items() if dataset is not None}
    missing = _missing(tasks, done, Worker() if run_store is None else run_store.worker)
    progress = Progress(label, len(done) + sum(map(len, missing.values())), already=len(done))
    if run_store is not None:
        if done:
            run_store.notes.append(f"{len(done)} of {len(names)} tasks are already on disk")
        for note in run_store.notes:
            progress.say(note)
    saving = threading.Lock()
    signals = contextlib.nullcontext(Stop()) if run_store is None else stop_on_signals(
        progress.say, lambda: (len(done), len(names)), saving
    )  # fmt: skip
    with signals as stop, progress:

        def advance(group: Sequence[Task]) -> None:
            for task in group:
                if stop.is_set():
                    return
                start = time.perf_counter()
                dataset = task.compute()
                seconds = time.perf_counter() - start
                dataset.attrs["wall_seconds"] = round(seconds, 3)
                with saving:
                    if run_store is not None:
                        run_store.save(task.name, dataset)
                    done[task.name] = dataset
                progress.advance(task.name, seconds)

        _in_threads(advance, list(missing.values()), stop)
    if stop.signal_number is not None:
        raise Interrupted(stop.signal_number, len(done), len(names))
    if run_store is not None and len(done) < len(names):
        for name in names:
            if name not in done and (dataset := run_store.load(name)) is not None:
                done[name] = dataset
        if len(done) < len(names):
            raise Unfinished(
                f"worker {run_store.worker.index}/{run_store.worker.count} has done its share; "
                f"{len(done)} of {len(names)} tasks are saved. Run the others, or the command "
                "without --worker to do what is missing"
            )
    return {name: done[name] for name in names}


def joined(
    axis: str,
    labels: Sequence[Any],
    parts: Iterable[xr.Dataset],
    join: Literal["outer", "exact"] = "outer",
) -> xr.Dataset:
    """Concatenate the results of tasks along a new axis, whose ``labels`` tell them apart.

    What other axes they do not share is filled with NaN, or with ``join`` "exact" refused. Their
    attributes are left out.

    >>> import xarray as xr
    >>> parts = [xr.Dataset({"waic": value}) for value in (1.0, 2.0)]
    >>> joined("n", [10, 20], parts)["waic"].sel(n=20).item()
    2.0
    """
    plain = [part.drop_attrs() for part in parts]
    return xr.concat(plain, dim=xr.Variable(axis, list(labels)), join=join)


def _missing(
    tasks: Sequence[Task], done: Mapping[str, xr.Dataset], worker: Worker
) -> dict[str, list[Task]]:
    """The tasks of a worker's share that are not done, by group."""
    missing: dict[str, list[Task]] = {}
    for i, task in enumerate(tasks):
        if i % worker.count == worker.index and task.name not in done:
            missing.setdefault(task.group, []).append(task)
    return missing


def _different_names(tasks: Sequence[Task]) -> list[str]:
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise ValueError(f"two tasks share a name among {', '.join(sorted(names))}")
    return names


def _in_threads(
    advance: Callable[[Sequence[Task]], None], groups: list[Sequence[Task]], stop: Stop
) -> None:
    workers = max(1, min(len(groups), (os.cpu_count() or 1) + 1))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(advance, group) for group in groups]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
