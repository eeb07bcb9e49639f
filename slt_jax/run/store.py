"""Labelled results on disk.

A file appears whole or not at all: everything is written beside its destination, flushed to the
disk and renamed. ``prepare_folder`` shows before a long computation, not after it, that a folder
can be written in.

JSON made here is strict: no NaN, no infinity, keys sorted. Numbers and arrays of NumPy or JAX
become numbers and lists, dataclasses and named tuples become objects, a Fraction becomes "5/2".
A relative path becomes a string; of an absolute one only the last part is kept, since what is
stored must not tell the folders of the machine that made it.

Errors of the user or the machine are ValueError and OSError, in one line that names the culprit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import jax
import numpy as np

if TYPE_CHECKING:
    import xarray as xr

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


# --- files ----------------------------------------------------------------------------------


def prepare_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder, with its parents, and prove that files can be written in it.

    Raises OSError, naming the folder and the reason, if something else is in the way or nothing
    can be written there; permissions are not asked but tried, since root passes them all.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = _beside(folder / "probe")
        try:
            with probe.open("xb") as file:
                file.write(b"probe")
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        obstacle = _obstacle(folder)
        reason = f"{obstacle} is in the way and not a folder" if obstacle else _reason(error)
        raise OSError(f"cannot write in the folder {str(folder)!r}: {reason}") from error
    return folder


@contextlib.contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` if the block ends without error.

    The temporary file lies in the same folder, is hidden and has the same suffix. If the block
    or the disk fails it is removed, and an older file at ``path`` is left as it was. Raises
    OSError naming ``path`` if it cannot be written; other errors of the block pass through.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        temporary.open("xb").close()
        try:
            yield temporary
            # Without this a crash of the machine could leave the new name on an empty file, and
            # quotas and network disks could refuse the data after the older file is gone.
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) != str(temporary):
            raise  # the block failed to read something else
        raise OSError(f"cannot write {str(path)!r}: {_reason(error)}") from error
    _sync_folder(path.parent)


def _beside(path: Path) -> Path:
    # The name does not contain the destination's, which may have the greatest length allowed.
    return path.with_name(f".{secrets.token_hex(8)}{path.suffix}")


def _sync_folder(folder: Path) -> None:
    # Not every file system can do this, and by now the file is complete and in its place.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _obstacle(folder: Path) -> Path | None:
    """The part of a path that exists and is not a folder, if there is one."""
    with contextlib.suppress(ValueError):
        for part in (folder, *folder.parents):
            if os.path.lexists(part) and not part.is_dir():
                return part
    return None


def _reason(error: Exception) -> str:
    """The error in one line, without the name of a temporary file."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split())


# --- datasets -------------------------------------------------------------------------------


def write_dataset(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset as netCDF4, whole or not at all; ``dataset_bytes`` says in what form.

    Raises ValueError if the dataset does not fit into netCDF, and OSError if ``path`` cannot be
    written; an older file is then left as it was.
    """
    content = dataset_bytes(dataset, str(path))
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def dataset_bytes(dataset: xr.Dataset, name: str) -> bytes:
    """The content of a netCDF4 file that holds a dataset.

    Attributes that netCDF cannot hold (None, booleans, mappings, mixed or nested lists, integers
    beyond 64 bits) are stored as JSON text, of the dataset and its variables alike. Boolean
    variables come back boolean. Raises ValueError, naming ``name``, if the dataset does not fit.
    """
    # What was read remembers the types of its file, as the length of its texts: what it was joined
    # with since would be cut to them.
    stored = dataset.drop_encoding()
    stored.attrs = _attributes(dataset.attrs, "attrs")
    for key, variable in dataset.variables.items():
        stored[key].attrs = _attributes(variable.attrs, f"{key}.attrs")
        # Text that was read is NumPy's, which netCDF does not take beside Python's.
        if variable.dtype == object and all(isinstance(text, str) for text in variable.values.flat):
            stored[key] = stored[key].astype(str)
    try:
        # In memory, so that the HDF5 library never meets a full disk: it may not survive one.
        return bytes(stored.to_netcdf(engine="h5netcdf"))
    except Exception as error:
        message = f"{name!r}: the dataset does not fit into netCDF: {_reason(error)}"
        raise ValueError(message) from error


def read_dataset(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a dataset that ``write_dataset`` wrote, wholly into memory.

    Raises FileNotFoundError if there is no such file, OSError if it cannot be read or is damaged
    or not netCDF4, and ValueError for a file of an older version, whose names mean something else.
    """
    import h5py
    import xarray as xr

    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {str(path)!r}") from error
    except (OSError, ValueError) as error:
        raise OSError(f"cannot read {str(path)!r}: {_reason(error)}") from error
    try:
        # h5netcdf prints a traceback of its own if it fails to open a file, so h5py tries first.
        with h5py.File(io.BytesIO(content), "r") as file:
            file.visititems(lambda name, item: None)
        dataset = xr.load_dataset(io.BytesIO(content), engine="h5netcdf")
    except Exception as error:
        message = f"{str(path)!r} is damaged or not a netCDF4 file: {_reason(error)}"
        raise OSError(message) from error
    _refuse_older_names(dataset, str(path))
    return dataset


def _refuse_older_names(dataset: xr.Dataset, name: str) -> None:
    """Raise ValueError for curves whose ``free_energy`` is relative to nL_n(w₀)."""
    variables = set(map(str, dataset.variables))
    is_curve = "free_energy" in variables and variables & {"free_energy_ti", "energy_at_optimum"}
    if is_curve and "normalised_free_energy" not in variables:
        raise ValueError(
            f"{name!r} is of an older version: its free_energy and wbic are relative to nL_n(w₀), "
            "which are called normalised_free_energy and normalised_wbic now; run it again, or "
            "rename them with xarray"
        )


def _attributes(attributes: Mapping[object, object], where: str) -> dict[str, object]:
    return {str(name): _attribute(value, f"{where}.{name}") for name, value in attributes.items()}


def _attribute(value: object, where: str) -> object:
    """The value itself if it is text, numbers or a flat sequence of either; else its JSON."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list | tuple) and value and all(isinstance(v, str) for v in value):
        return [str(v) for v in value]
    if isinstance(value, int | float | list | tuple | np.ndarray | np.generic):
        with contextlib.suppress(ValueError):
            array = np.asarray(value)
            if array.dtype.kind in "iuf" and array.ndim <= 1:
                return value
    return json_text(plain(value, where))


# --- JSON -----------------------------------------------------------------------------------


def write_json(mapping: Mapping[str, object], path: str | os.PathLike[str]) -> None:
    """Write strict JSON with sorted keys, whole or not at all.

    Raises ValueError, naming the keys that lead to it, for NaN, infinity or anything that JSON
    cannot hold, and OSError if ``path`` cannot be written; an older file is then left as it was.
    """
    content = (json_text(plain(mapping), indent=2) + "\n").encode()
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def plain(value: object, where: str = "") -> Json:
    """The value in types that JSON has, by the rules at the head of this file.

    ``where`` is what leads to the value. Raises ValueError, naming it, for NaN, infinity, two
    keys with the same text, and types that have no place in JSON.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where or 'value'} is {value}; JSON holds finite numbers only")
        return float(value)
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, PurePath):
        return value.name if value.is_absolute() else value.as_posix()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return plain({field.name: getattr(value, field.name) for field in fields}, where)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict(), where)
    if isinstance(value, Mapping):
        return _plain_mapping(value, where)
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    # The dtype of JAX's random keys has no kind.
    is_array = isinstance(value, np.ndarray | np.generic | jax.Array)
    if is_array and getattr(getattr(value, "dtype", None), "kind", None) in tuple("biufU"):
        return plain(np.asarray(value).tolist(), where)
    raise ValueError(
        f"{where or 'value'} is a {type(value).__name__}; allowed are text, numbers, booleans, "
        "None, paths, fractions, arrays, and lists, mappings and dataclasses of these"
    )


def _plain_mapping(mapping: Mapping[object, object], where: str) -> dict[str, Json]:
    result: dict[str, Json] = {}
    for key, value in mapping.items():
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ValueError(f"{where or 'mapping'} has the key {key!r}; keys are text or integers")
        if str(key) in result:
            raise ValueError(f"{where or 'mapping'} has two keys that read {str(key)!r}")
        result[str(key)] = plain(value, f"{where}.{key}" if where else str(key))
    return result


def json_text(value: Json, indent: int | None = None) -> str:
    """Strict JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=indent)
