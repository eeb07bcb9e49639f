"""Executables on disk, found by what they would be traced from: a warm start traces no sampler.

JAX's own cache is asked with a program, which has to be traced and lowered first: for a sampler
that takes longer than all else of a warm start. Here the key is a text. It holds all that a program
depends on: the code of this package, versions, processor and options, the configuration of JAX, and
the function with its constants and the shapes of its arguments. A constant that no text stands for,
as a function of a user's, has no key, and its programs are not kept.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import os
import pickle
import platform
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import serialize_executable

from slt_jax.run.compilation import EVENT, compiler_options, processor
from slt_jax.run.kept_files import cache_folder, keep, read_kept

PACKAGE = Path(__file__).resolve().parents[1]
VERSIONS_OF = ("jax", "jaxlib", "numpyro", "blackjax", "optax", "numpy", "scipy")
FOLDER, SUFFIX = "executables", ".executable"
RETRIEVAL = "/jax/compilation_cache/cache_retrieval_time_sec"
# Versions of the code of which executables stay; each has some megabytes.
KEPT_VERSIONS = 4


def identity_of(value: Any) -> str | None:
    """Return a text that stands for a constant as long as the code of this package is the same.

    Numbers, strings and tuples of them have one, functions and classes that a module of this
    package defines, and its records of such values; a record with a field ``identity`` says its
    own, or that it has none by an empty one. None for all else, whose code may be anywhere.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if _is_defined_here(value):
        return f"{value.__module__}.{value.__qualname__}"
    family = type(value)
    if not (family is tuple or _is_defined_here(family)):
        return None
    if isinstance(identity := getattr(value, "identity", None), str):
        return identity or None
    if isinstance(value, tuple):
        parts = list(value)
    elif dataclasses.is_dataclass(value):
        parts = [getattr(value, field.name) for field in dataclasses.fields(value)]
    else:
        return None
    texts = [identity_of(part) for part in parts]
    if any(text is None for text in texts):
        return None
    return f"{family.__module__}.{family.__qualname__}({', '.join(map(str, texts))})"


def _is_defined_here(value: Any) -> bool:
    """True for a function or class that its module of this package has under its name."""
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
    is_ours = str(module).startswith(f"{__name__.split('.')[0]}.")
    return is_ours and bool(name) and getattr(sys.modules.get(module), name, None) is value


def key_of(
    function: Callable[..., Any],
    static: tuple[Any, ...],
    arguments: Any,
    devices: tuple[jax.Device, ...],
) -> str | None:
    """Return the name under which an executable is kept, None where none can be.

    ``arguments`` is a tree of arrays, or of shapes and types.
    """
    constants = identity_of((function, *static)) if jax.process_count() == 1 else None
    if constants is None:
        return None
    leaves, tree = jax.tree.flatten(arguments)
    shapes = [
        (np.shape(leaf), str(getattr(leaf, "dtype", type(leaf))), getattr(leaf, "weak_type", None))
        for leaf in leaves
    ]
    # Asked for one by one, as values of a thread go before those of the process.
    configured = [(name, repr(getattr(jax.config, name, None))) for name in jax.config.values]
    places = [device.id for device in devices]
    text = repr((_surroundings(), configured, constants, str(tree), shapes, places))
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _surroundings() -> tuple[Any, ...]:
    devices = jax.local_devices()
    versions = [importlib.metadata.version(name) for name in VERSIONS_OF]
    options = compiler_options(devices[0].platform)
    return (
        platform.python_version(), versions, processor(), len(devices), devices[0].device_kind,
        devices[0].client.platform_version, options, os.environ.get("XLA_FLAGS"),
    )  # fmt: skip


@functools.cache
def code_digest(package: Path = PACKAGE) -> str:
    """Return a short hash of all code of this package."""
    content = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes() + b"\0")
    return content.hexdigest()[:16]


def digest_of(lowered: Any) -> str:
    """Return a short hash of a lowered program, by which other code with the same one finds it."""
    trees = str(lowered.in_tree), str(lowered.out_tree)
    text = repr((_surroundings(), trees)) + lowered.as_text()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compiled(lowered: Any) -> tuple[Any, bool]:
    """Return the executable of a lowered program, and whether XLA has just made it.

    What JAX reads from its own cache runs, but lacks functions when it is serialised again.
    """
    thread, retrieved = threading.get_ident(), []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == RETRIEVAL and threading.get_ident() == thread:
            retrieved.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        return lowered.compile(), not retrieved
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def load(
    key: str, name: str, devices: tuple[jax.Device, ...]
) -> tuple[Callable[..., Any], int] | None:
    """Return the executable of a key and the bytes that it takes, None if none is kept whole.

    A file that cannot be loaded counts as none. The load is reported to listeners as a compilation
    of ``name``, as JAX reports what it finds in its own cache.
    """
    start = time.perf_counter()
    folder = _folder()
    paths = [] if folder is None else list(folder.glob(f"{_stem(key)}-*{SUFFIX}"))
    content = read_kept(paths[0]) if paths else None
    if content is None:
        return None
    try:
        num_bytes, (program, inputs, outputs) = pickle.loads(zlib.decompress(content))
        executable = serialize_executable.deserialize_and_load(
            program, inputs, outputs, execution_devices=devices
        )
    except Exception:  # whatever another version of a library may say
        return None
    jax.monitoring.record_event_duration_secs(
        EVENT, time.perf_counter() - start, fun_name=f"jit({name})"
    )
    return executable, num_bytes


def save(key: str, executable: Any, num_bytes: int, lowered: Any, is_fresh: bool) -> None:
    """Keep an executable and the bytes that it takes, where there is a folder for it.

    One that XLA has not just made cannot be serialised (see ``compiled``): that of other code which
    was ``lowered`` to the same program is copied, where there is one.
    """
    folder = _folder()
    if folder is None:
        return
    digest = digest_of(lowered)
    path, is_new = folder / f"{_stem(key)}-{digest}{SUFFIX}", not folder.exists()
    try:
        if is_fresh:
            serialized = serialize_executable.serialize(executable)
            content = zlib.compress(pickle.dumps((num_bytes, serialized)), level=1)
        else:
            others = folder.parent.glob(f"*/*-{digest}{SUFFIX}")
            content = next(filter(None, map(read_kept, others)))
    except Exception:  # there is none, or the backend cannot serialise
        return
    keep(path, content)
    if is_new:
        _forget_old_versions(folder.parent)


def forget(key: str) -> None:
    """Remove the file of an executable that does not run."""
    if folder := _folder():
        with contextlib.suppress(OSError):
            for path in folder.glob(f"{_stem(key)}-*{SUFFIX}"):
                path.unlink()


def _forget_old_versions(folder: Path) -> None:
    with contextlib.suppress(OSError):
        versions = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for version in versions[:-KEPT_VERSIONS]:
            shutil.rmtree(version, ignore_errors=True)


def _stem(key: str) -> str:
    return key[:32]


def _folder() -> Path | None:
    folder = cache_folder()
    return folder and folder / FOLDER / code_digest()
