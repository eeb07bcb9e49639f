"""A run store keeps what a run has computed on disk: a killed run goes on where it was.

    tasks/manifest.json         the configuration, the code, and the hash of both
    tasks/NAME.DIGEST.nc        a finished task; DIGEST is the SHA-256 of the file's content
    tasks/lock*                 locked while a process writes, by the operating system

A task whose content does not match its name is damaged: it is removed and computed again. Locks
die with their process, so that none can be stale.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self

import xarray as xr

from slt_jax.run.config import Worker
from slt_jax.run.provenance import config_json, provenance
from slt_jax.run.store import (
    dataset_bytes,
    prepare_folder,
    read_dataset,
    replace_file,
    write_json,
)

FOLDER = "tasks"
MANIFEST = "manifest.json"
DIGEST_LENGTH = 16


class RunStore:
    """The finished tasks of one run; a context manager that holds the lock.

    ``identity`` is what determines the numbers, and ``code`` the fingerprint of the code that
    makes them. A folder that holds another identity is refused
    unless ``restart``, which discards its tasks; tasks of the same identity made by other
    code are set aside. Raises ValueError for the refusal, OSError if another process writes here
    or nothing can be written.
    """

    def __init__(
        self,
        out: Path,
        identity: object,
        code: str,
        worker: Worker | None = None,
        restart: bool = False,
    ) -> None:
        self.worker = worker or Worker()
        self.notes: list[str] = []
        self._identity = json.loads(config_json(identity))
        self._code = code
        self._restart = restart
        self._folder = Path(out) / FOLDER
        self._locks: list[IO[str]] = []
        self._provenance = functools.cache(lambda: provenance(self._identity))

    def __enter__(self) -> Self:
        prepare_folder(self._folder)
        try:
            self._lock()
            self._agree()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def load(self, name: str) -> xr.Dataset | None:
        """The task of that name, or None if it was not finished or is damaged."""
        for path in self._files(name):
            content = path.read_bytes()
            if digest(content) == path.suffixes[-2].removeprefix("."):
                return read_dataset(path)
            self.notes.append(f"task {name} is damaged: computed again")
            path.unlink()
        return None

    def holds(self, name: str) -> bool:
        """True if there is a task of that name, damaged or not."""
        return bool(self._files(name))

    def save(self, name: str, task: xr.Dataset) -> None:
        """Put a finished task on disk with its provenance, whole or not at all.

        Raises OSError if it cannot be written.
        """
        content = dataset_bytes(task.assign_attrs(self._provenance()), name)
        path = self._folder / f"{name}.{digest(content)}.nc"
        with replace_file(path) as temporary:
            temporary.write_bytes(content)
        for other in self._files(name):
            if other != path:
                other.unlink(missing_ok=True)

    def _files(self, name: str) -> list[Path]:
        pattern = "[0-9a-f]" * DIGEST_LENGTH
        return sorted(self._folder.glob(f"{name}.{pattern}.nc"))

    def _lock(self) -> None:
        """Alone, or beside other workers each of which has a lock of its own."""
        alone = self.worker.count == 1
        self._acquire("lock", fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            self._acquire(f"lock-{self.worker.index}-of-{self.worker.count}", fcntl.LOCK_EX)

    def _acquire(self, name: str, mode: int) -> None:
        file = (self._folder / name).open("a+")
        self._locks.append(file)
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise OSError(
                f"{str(self._folder)!r} is being written by {owner}; wait for it, or choose "
                "another --out"
            ) from None
        if mode == fcntl.LOCK_EX:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()

    def _release(self) -> None:
        for file in self._locks:
            file.close()
        self._locks.clear()

    def _agree(self) -> None:
        """Make the manifest, or see that it is ours."""
        path = self._folder / MANIFEST
        ours = {"identity": self._identity, "code": self._code}
        theirs = _read_manifest(path)
        holds_tasks = any(self._folder.glob("*.nc"))
        changed = theirs is not None and theirs["identity"] != self._identity
        if theirs is not None and changed and holds_tasks and not self._restart:
            first, *others = _differences(theirs["identity"], self._identity)
            difference = f"{first}, and {len(others)} more" if others else first
            raise ValueError(
                f"{str(self._folder.parent)!r} holds the run of another configuration "
                f"({difference}); choose another --out, or add --restart to discard it"
            )
        if theirs == ours and not self._restart:
            return
        if self.worker.count > 1 and theirs is not None:
            self._alone_or_refuse()
        if theirs is not None and holds_tasks and not changed and not self._restart:
            aside = self._folder.with_name(f"{FOLDER}-{theirs['code'][:8]}")
            self.notes.append(f"tasks made by other code are set aside in {aside.name!r}")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            for old in (*self._folder.glob("*.nc"), path):
                old.rename(aside / old.name)
        else:
            for old in self._folder.glob("*.nc"):
                old.unlink()
        write_json(ours, path)

    def _alone_or_refuse(self) -> None:
        """Only a process that is alone may discard what others may be adding to."""
        try:
            fcntl.flock(self._locks[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(
                f"{str(self._folder)!r} is being written by other workers; wait for them before "
                "the run is started afresh"
            ) from None
        fcntl.flock(self._locks[0], fcntl.LOCK_SH)


def digest(content: bytes) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest, or None if there is none; one that cannot be read matches nothing."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return {"identity": content["identity"], "code": str(content["code"])}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return {"identity": {"manifest": "unreadable"}, "code": "unreadable"}


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key):
            yield f"{key} = {theirs.get(key)}, not {ours.get(key)}"
