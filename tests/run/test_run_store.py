"""What is on disk: whole tasks, found again, refused, repaired, locked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from slt_jax.run.run_store import RunStore, Worker

CODE = "0" * 64
IDENTITY = {"seed": 1, "sizes": (10, 100)}


def dataset(value: float = 1.0) -> xr.Dataset:
    return xr.Dataset({"x": ("replicate", np.array([value, np.nan, 3.0]))})


def saved(folder: Path, code: str = CODE) -> Path:
    """A run_store with one task, and the file that holds it."""
    with RunStore(folder, IDENTITY, code) as run_store:
        run_store.save("one", dataset())
    (path,) = (folder / "tasks").glob("one.*.nc")
    return path


def test_what_is_saved_is_found_again_with_its_provenance(tmp_path: Path) -> None:
    saved(tmp_path)
    with RunStore(tmp_path, IDENTITY, CODE) as run_store:
        found = run_store.load("one")
        assert run_store.load("two") is None
        assert run_store.load("on") is None
    assert found is not None
    xr.testing.assert_identical(found.drop_attrs(), dataset())
    assert json.loads(found.attrs["config"]) == {"seed": 1, "sizes": [10, 100]}
    assert {"git_commit", "git_dirty", "jax_version", "device_kind"} <= set(found.attrs)


def test_a_batch_that_is_saved_again_replaces_the_first(tmp_path: Path) -> None:
    with RunStore(tmp_path, IDENTITY, CODE) as run_store:
        run_store.save("one", dataset(1.0))
        run_store.save("one", dataset(2.0))
        found = run_store.load("one")
    assert found is not None
    assert float(found["x"][0]) == 2.0
    assert len(list((tmp_path / "tasks").glob("*.nc"))) == 1


@pytest.mark.parametrize("damage", ["truncated", "emptied", "a flipped bit", "renamed"])
def test_a_damaged_batch_is_removed_and_reported(damage: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[:-1])
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "a flipped bit":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.rename(path.with_name(f"one.{'0' * 16}.nc"))
    with RunStore(tmp_path, IDENTITY, CODE) as run_store:
        assert run_store.load("one") is None
        assert run_store.notes == ["task one is damaged: computed again"]
        assert not list((tmp_path / "tasks").glob("*.nc"))
        run_store.save("one", dataset())
        assert run_store.load("one") is not None


def test_another_configuration_is_refused_and_loses_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with (
        pytest.raises(ValueError, match=r"another configuration \(seed = 1, not 2\).*--restart"),
        RunStore(tmp_path, IDENTITY | {"seed": 2}, CODE),
    ):
        pass
    assert path.exists()
    with RunStore(tmp_path, IDENTITY, CODE) as run_store:
        assert run_store.load("one") is not None


def test_a_run_that_saved_nothing_is_in_nobodys_way(tmp_path: Path) -> None:
    with RunStore(tmp_path, IDENTITY, CODE):
        pass
    with RunStore(tmp_path, IDENTITY | {"seed": 2}, CODE) as run_store:
        run_store.save("one", dataset())
    with pytest.raises(ValueError, match="seed = 2, not 1"), RunStore(tmp_path, IDENTITY, CODE):
        pass


def test_restart_discards(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with RunStore(tmp_path, IDENTITY | {"seed": 2}, CODE, restart=True) as run_store:
        assert run_store.load("one") is None
    assert not path.exists()


def test_a_manifest_that_cannot_be_read_is_another_configuration(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "tasks" / "manifest.json").write_text('{"identity"')
    with (
        pytest.raises(ValueError, match="manifest = unreadable"),
        RunStore(tmp_path, IDENTITY, CODE),
    ):
        pass


def test_tasks_of_other_code_are_set_aside(tmp_path: Path) -> None:
    saved(tmp_path, code="0ld" * 20)
    with RunStore(tmp_path, IDENTITY, CODE) as run_store:
        assert run_store.load("one") is None
        assert run_store.notes == ["tasks made by other code are set aside in 'tasks-0ld0ld0l'"]
    assert len(list((tmp_path / "tasks-0ld0ld0l").glob("one.*.nc"))) == 1


# --- locks ----------------------------------------------------------------------------------


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with RunStore(tmp_path, IDENTITY, CODE):
        for worker in (Worker(), Worker(0, 2)):
            with (
                pytest.raises(OSError, match=rf"is being written by process {os.getpid()} on"),
                RunStore(tmp_path, IDENTITY, CODE, worker),
            ):
                pass
    with RunStore(tmp_path, IDENTITY, CODE):
        pass


def test_workers_write_side_by_side_but_not_twice_as_one(tmp_path: Path) -> None:
    with (
        RunStore(tmp_path, IDENTITY, CODE, Worker(0, 2)),
        RunStore(tmp_path, IDENTITY, CODE, Worker(1, 2)),
    ):
        for worker in (Worker(1, 2), Worker()):
            with (
                pytest.raises(OSError, match="is being written by"),
                RunStore(tmp_path, IDENTITY, CODE, worker),
            ):
                pass


def test_a_worker_does_not_restart_what_others_are_writing(tmp_path: Path) -> None:
    saved(tmp_path)
    with (
        RunStore(tmp_path, IDENTITY, CODE, Worker(0, 2)) as run_store,
        pytest.raises(OSError, match="other workers"),
        RunStore(tmp_path, IDENTITY, CODE, Worker(1, 2), restart=True),
    ):
        pass
    assert run_store.load("one") is not None


def test_a_lock_left_behind_is_no_lock(tmp_path: Path) -> None:
    """The process that wrote it is gone, whatever the file says."""
    hold = (
        "import os, sys; from slt_jax.run.run_store import RunStore\n"
        f"RunStore({str(tmp_path)!r}, {IDENTITY!r}, {CODE!r}).__enter__(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", hold]).returncode == -9
    assert (tmp_path / "tasks" / "lock").read_text().startswith("process ")
    with RunStore(tmp_path, IDENTITY, CODE):
        pass


@pytest.mark.parametrize(
    ("text", "expected"), [("0/1", Worker()), ("3/4", Worker(3, 4)), ("11/12", Worker(11, 12))]
)
def test_workers(text: str, expected: Worker) -> None:
    assert Worker.parse(text) == expected


@pytest.mark.parametrize("text", ["", "1", "1/1", "4/4", "-1/2", "0/0", "a/b", "0/1/2", "½/2"])
def test_what_is_no_worker(text: str) -> None:
    with pytest.raises(ValueError, match="must be i/N"):
        Worker.parse(text)
