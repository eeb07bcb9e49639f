"""Results on disk: what goes in comes out, and a failure leaves no trace."""

import contextlib
import dataclasses
import enum
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from slt_jax.run import store
from slt_jax.run.store import (
    prepare_folder,
    read_dataset,
    replace_file,
    write_dataset,
    write_json,
)

ROOT = Path(__file__).resolve().parents[2]


def example() -> xr.Dataset:
    return xr.Dataset(
        {
            "free_energy": (("problem", "n"), np.arange(6.0).reshape(2, 3) / 7, {"unit": "nats"}),
            "converged": ("problem", np.array([True, False])),
            "count": ("n", np.array([1, 2, 2**40])),
            "precise": ("n", np.array([1, 2, 3], np.float32)),
            "missing": ("n", np.array([np.nan, np.inf, -np.inf])),
            "empty": ("nothing", np.zeros(0)),
        },
        coords={"problem": ["y = abx", "λ = ½"], "n": [10, 100, 1000]},
        attrs={"title": "F_n", "seed": 0, "beta": 0.5, "grid": [1, 2, 3]},
    )


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# --- datasets -------------------------------------------------------------------------------


def test_dataset_round_trip(tmp_path: Path) -> None:
    dataset = example()
    write_dataset(dataset, tmp_path / "result.nc")
    back = read_dataset(str(tmp_path / "result.nc"))
    xr.testing.assert_identical(back, dataset)
    for name, variable in dataset.variables.items():
        assert back[name].dtype == variable.dtype
    assert names(tmp_path) == ["result.nc"]


def test_a_dataset_read_is_in_memory_and_can_be_written_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "result.nc"
    write_dataset(example(), path)
    back = read_dataset(path)
    write_dataset(back.assign(free_energy=back.free_energy + 1), path)
    path.rename(tmp_path / "moved.nc")
    xr.testing.assert_identical(back, example())
    again = read_dataset(tmp_path / "moved.nc")
    np.testing.assert_array_equal(again.free_energy, example().free_energy + 1)


class Pair(NamedTuple):
    draws: int
    path: Path


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("text", "text"),
        ("", ""),
        (3, 3),
        (2.5, 2.5),
        (float("nan"), float("nan")),
        (np.float32(2), 2.0),
        (np.str_("text"), "text"),
        ([1, 2.5], [1.0, 2.5]),
        (np.arange(3), [0, 1, 2]),
        (["a", "β"], ["a", "β"]),
        (True, "true"),
        (np.bool_(False), "false"),
        (None, "null"),
        ({"b": {"c": None}, "a": 1}, '{"a": 1, "b": {"c": null}}'),
        ([1, "a", None], '[1, "a", null]'),
        ([True, False], "[true, false]"),
        ([[1], [2, 3]], "[[1], [2, 3]]"),
        (np.eye(2, dtype=int), "[[1, 0], [0, 1]]"),
        (10**30, "1" + 30 * "0"),
        (Fraction(5, 2), '"5/2"'),
        (Pair(3, Path("a/b")), '{"draws": 3, "path": "a/b"}'),
    ],
)
def test_attributes(value: Any, stored: Any, tmp_path: Path) -> None:
    dataset = xr.Dataset({"x": ("i", [1.0], {"inner": value})}, {"i": [0]}, {"outer": value})
    dataset.i.attrs["label"] = value
    write_dataset(dataset, tmp_path / "result.nc")
    back = read_dataset(tmp_path / "result.nc")
    for value_read in (back.attrs["outer"], back.x.attrs["inner"], back.i.attrs["label"]):
        np.testing.assert_array_equal(value_read, stored)
    assert dataset.attrs["outer"] is value
    assert dataset.x.attrs["inner"] is value


def test_long_attributes(tmp_path: Path) -> None:
    """The older HDF5 limit of 64 KiB would be met by a long configuration."""
    config = json.dumps(list(range(50_000)))
    write_dataset(example().assign_attrs(config=config), tmp_path / "result.nc")
    assert read_dataset(tmp_path / "result.nc").attrs["config"] == config


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (xr.Dataset({"x": ("i", np.array([1, "a"], dtype=object))}), "result.nc"),
        (xr.Dataset({"x": 1.0}, attrs={"f": "nul\0byte"}), "result.nc"),
        (xr.Dataset({"x": 1.0}, attrs={"f": print}), "attrs.f"),
        (xr.Dataset({"x": ((), 1.0, {"f": {"g": float("nan")}})}), "x.attrs.f.g"),
    ],
)
def test_what_netcdf_cannot_hold(dataset: xr.Dataset, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        write_dataset(dataset, tmp_path / "result.nc")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*absent\.nc'"):
        read_dataset(tmp_path / "absent.nc")
    with pytest.raises(OSError, match="cannot read"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "short", "holes"])
def test_reading_what_is_damaged(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "result.nc"
    write_dataset(example(), path)
    content = bytearray(path.read_bytes())
    if damage == "holes":
        content[600::7] = bytes(len(content[600::7]))
    path.write_bytes(
        {
            "empty": b"",
            "text": b"problem,n\n",
            "cut": content[:-100],
            "short": content[:3000],
            "holes": content,
        }[damage]
    )
    with pytest.raises(OSError, match=r"result\.nc' is damaged or not a netCDF4 file") as caught:
        read_dataset(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sign", ["free_energy_ti", "energy_at_optimum"])
def test_reading_a_file_of_an_older_version(sign: str, tmp_path: Path) -> None:
    """There ``free_energy`` was relative to nL_n(w₀), and nothing but its company says so."""
    path = tmp_path / "result.nc"
    curve = example().assign({sign: ("problem", [1.0, 2.0])})
    write_dataset(curve, path)
    with pytest.raises(ValueError, match=r"result\.nc' is of an older version.*") as caught:
        read_dataset(path)
    assert "normalised_free_energy and normalised_wbic now" in str(caught.value)
    assert "\n" not in str(caught.value)
    for named in (curve.rename(free_energy="normalised_free_energy"), example()):
        write_dataset(named, path)
        xr.testing.assert_identical(read_dataset(path), named)
    both = curve.assign(normalised_free_energy=curve.free_energy)
    write_dataset(both, path)
    xr.testing.assert_identical(read_dataset(path), both)


# --- failure --------------------------------------------------------------------------------


def refuse(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("fails", ["replace", "fsync"])
def test_a_failed_write_leaves_the_older_file(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(example(), tmp_path / "result.nc")
    write_json({"a": 1}, tmp_path / "result.json")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(store.os, fails, refuse)
    with pytest.raises(OSError, match=r"cannot write '.*result\.nc': No space left on device$"):
        write_dataset(example() + 1, tmp_path / "result.nc")
    with pytest.raises(OSError, match=r"cannot write '.*result\.json': No space left on device$"):
        write_json({"a": 2}, tmp_path / "result.json")
    with pytest.raises(OSError, match="No space left"):
        write_json({"a": 2}, tmp_path / "new.json")
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


FULL_DISK = """
import os, resource, sys
from pathlib import Path
import numpy as np, xarray as xr
from slt_jax.run.store import read_dataset, write_dataset, write_json
folder = Path(sys.argv[1])
small = xr.Dataset({"x": ("i", np.zeros(1))})
large = xr.Dataset({"x": ("i", np.random.default_rng(0).normal(size=100_000))})
write_dataset(small, folder / "result.nc")
write_json({"a": 1}, folder / "result.json")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write, content, name in [
    (write_dataset, large, "result.nc"),
    (write_dataset, large, "new.nc"),
    (write_json, {"a": list(range(100_000))}, "result.json"),
]:
    try:
        write(content, folder / name)
    except OSError as error:
        print(error)
xr.testing.assert_identical(read_dataset(folder / "result.nc"), small)
assert (folder / "result.json").read_text() == '{\\n  "a": 1\\n}\\n'
assert sorted(os.listdir(folder)) == ["result.json", "result.nc"]
write_dataset(small + 1, folder / "result.nc")
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files stops a write half-way, as a full disk does."""
    pytest.importorskip("resource")
    script = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ["result.nc", "new.nc", "result.json"], strict=True):
        assert line.startswith("cannot write ")
        assert line.endswith(f"{name}': File too large")
    assert read_dataset(tmp_path / "result.nc").x == 1


def test_replace_file_is_for_any_writer(tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    path.write_text("old")
    with replace_file(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".svg"
        assert temporary.name.startswith(".")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["figure.svg"]
    other = tmp_path / "other"
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, SystemExit])
def test_replace_file_when_the_block_fails(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    path.write_text("old")

    def interrupted() -> None:
        with replace_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["figure.svg"]


def test_replace_file_passes_on_what_it_did_not_cause(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), replace_file(tmp_path / "figure.svg"):
        (tmp_path / "absent").read_text()
    assert names(tmp_path) == []


def test_replace_file_with_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250 + ".json")
    write_json({}, path)
    assert path.read_text() == "{}\n"


@pytest.mark.parametrize("name", ["absent/result.json", "file/result.json", "folder"])
def test_replace_file_where_nothing_can_be_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=f"cannot write '.*{name}': ") as caught:
        write_json({}, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file", "folder"]


# --- folders --------------------------------------------------------------------------------


def test_prepare_folder(tmp_path: Path) -> None:
    folder = prepare_folder(str(tmp_path / "a" / "b"))
    assert folder == tmp_path / "a" / "b"
    assert prepare_folder(folder) == folder
    assert names(folder) == []


@pytest.mark.parametrize("name", ["file", "file/below/it", "dangling", "loop"])
def test_prepare_folder_with_something_in_the_way(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    obstacle = name.split("/")[0]
    with pytest.raises(OSError, match=f"{name}': .*{obstacle} is in the way and not a folder$"):
        prepare_folder(tmp_path / name)


@pytest.mark.parametrize("name", ["nul\0byte", "x" * 300])
def test_prepare_folder_on_an_impossible_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot write in the folder") as caught:
        prepare_folder(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("path", ["/proc/slt_jax", "/proc/self"])
def test_prepare_folder_where_not_even_root_may_write(path: str) -> None:
    with pytest.raises(OSError, match=rf"cannot write in the folder '{path}': \w"):
        prepare_folder(path)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom permissions stop, which they do not root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_prepare_folder_that_is_read_only() -> None:
    # The folders of pytest are closed to others.
    with tempfile.TemporaryDirectory() as name:
        read_only = Path(name)
        read_only.chmod(0o555)
        for folder in (read_only, read_only / "below"):
            with unprivileged(), pytest.raises(OSError, match="Permission denied"):
                prepare_folder(folder)


def test_prepare_folder_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.os, "fsync", refuse)
    with pytest.raises(OSError, match="cannot write in the folder .*: No space left on device"):
        prepare_folder(tmp_path)
    assert names(tmp_path) == []


# --- JSON -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    shape: tuple[int, ...] = (2, 3)


def test_json_values(tmp_path: Path) -> None:
    content = {
        "fraction": Fraction(5, 2),
        "whole": Fraction(3),
        "numpy": [np.float64(0.5), np.int32(3), np.bool_(True), np.arange(4).reshape(2, 2)],
        "jax": jnp.ones(2),
        "none": None,
        "path": Path("a") / "b",
        "absolute": Path("/home/someone/results"),
        "tuple": Pair(1, Path("c")),
        "dataclass": Inner(),
        "nested": {2: "two", 1: {"deep": (1, 2)}},
        "greek": "λ̂",
    }
    write_json(content, tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "λ̂" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "fraction": "5/2",
        "whole": "3",
        "numpy": [0.5, 3, True, [[0, 1], [2, 3]]],
        "jax": [1.0, 1.0],
        "none": None,
        "path": "a/b",
        "absolute": "results",
        "tuple": {"draws": 1, "path": "c"},
        "dataclass": {"rate": 0.1, "shape": [2, 3]},
        "nested": {"1": {"deep": [1, 2]}, "2": "two"},
        "greek": "λ̂",
    }
    write_json(dict(reversed(content.items())), tmp_path / "b.json")
    assert (tmp_path / "b.json").read_text(encoding="utf-8") == text


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": {"b": [1, float("nan")]}}, r"a\.b\[1\] is nan"),
        ({"a": {"b": np.array([[0.0, np.inf]])}}, r"a\.b\[0\]\[1\] is inf"),
        ({"a": Inner(rate=float("nan"))}, r"a\.rate is nan"),
        ({"a": np.float32("nan")}, "a is nan"),
        ({"f": print}, "f is a builtin_function_or_method; allowed are"),
        ({"f": {1, 2}}, "f is a set"),
        ({"f": 1j}, "f is a complex"),
        ({"f": Colour.RED}, "f is a Colour"),
        ({"f": Inner}, "f is a type"),
        ({"f": np.array([None])}, "f is a ndarray"),
        ({"f": jax.eval_shape(lambda: jnp.zeros(2))}, "f is a ShapeDtypeStruct"),
        ({"f": {(1, 2): 3}}, r"f has the key \(1, 2\)"),
        ({None: 3}, "mapping has the key None"),
        ({"f": {1: 1, "1": 2}}, "f has two keys that read '1'"),
    ],
)
def test_json_refuses(content: dict, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ValueError, match=words) as caught:
        write_json(content, path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_json_refuses_keys_of_jax() -> None:
    with pytest.raises(ValueError, match="key is a"):
        store.plain({"key": jax.random.key(0)})


def test_what_was_read_does_not_cut_what_it_is_joined_with(tmp_path: Path) -> None:
    path = tmp_path / "short.nc"
    store.write_dataset(xr.Dataset({"text": ("x", ["1"]), "number": ("x", np.int8([1]))}), path)
    longer = xr.Dataset({"text": ("x", ["1/2"]), "number": ("x", [1000])})
    joined = xr.concat([store.read_dataset(path), longer], "x")
    store.write_dataset(joined, path)
    found = store.read_dataset(path)
    assert found["text"].values.tolist() == ["1", "1/2"]
    assert found["number"].values.tolist() == [1, 1000]


def test_text_that_was_read_can_stand_beside_other_text(tmp_path: Path) -> None:
    """In one array of objects, as an experiment fills it in from tasks old and new."""
    file = tmp_path / "text.nc"
    write_dataset(xr.Dataset({"reason": ((), "late")}), file)
    texts = np.array([read_dataset(file)["reason"].to_numpy()[()], ""], object)
    assert {type(text) for text in texts} == {str, np.str_}
    write_dataset(xr.Dataset({"reason": ("run", texts)}, {"reason_of": ("run", texts)}), file)
    joined = read_dataset(file)
    assert joined["reason"].to_numpy().tolist() == ["late", ""]
    assert joined["reason_of"].to_numpy().tolist() == ["late", ""]
