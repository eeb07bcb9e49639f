"""The record of what made a result, and the fingerprint of the code that its numbers depend on."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from slt_jax import __version__
from slt_jax.run.compilation import keep_compilations
from slt_jax.run.kept_files import cache_folder, keep, read_kept
from slt_jax.run.store import json_text, plain

PACKAGES = ("jax", "jaxlib", "numpyro", "blackjax", "numpy")
CODE = (":(top)*.py", ":(top)pyproject.toml", ":(top)constraints.txt")
PACKAGE = Path(__file__).parents[1]
NOT_NUMBERS = ("report/", "run/quantities.py", "testing/")
NOT_NUMBERS_OF_EXPERIMENT = ("__main__.py", "verdict.py", "figure.py", "quantities.py")
GIT_LOCATIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")


def config_json(config: object) -> str:
    """The configuration as one line of JSON, the same in every process and on every machine.

    Raises ValueError for what JSON cannot hold.
    """
    return json_text(plain(config))


def config_hash(config: object) -> str:
    """SHA-256 of ``config_json``, in hexadecimal."""
    return hashlib.sha256(config_json(config).encode()).hexdigest()


def provenance(config: object) -> dict[str, str | int | float]:
    """The record of what made a result, fit for the attributes of a dataset.

    The configuration with its hash, the git commit and whether the code differs from it (true,
    false, or "unknown" outside a checkout), versions, the accelerator, 64-bit types on or off,
    and the time in UTC. It names no folder, host or user. Starts the JAX backend. Raises
    ValueError for a configuration that JSON cannot hold.
    """
    commit, dirty = _git_state()
    device = jax.devices()[0]
    return {
        "config": config_json(config),
        "config_sha256": config_hash(config),
        "git_commit": commit,
        "git_dirty": dirty,
        "slt_jax_version": __version__,
        "python_version": platform.python_version(),
        **{f"{name}_version": importlib.metadata.version(name) for name in PACKAGES},
        "device_platform": device.platform,
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
        "x64": "true" if jnp.result_type(float) == np.float64 else "false",
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git_state() -> tuple[str, str]:
    """The commit that this package lies in, and whether its code has changed since."""
    try:
        # An installed package may lie in somebody else's checkout, which does not track it.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git("rev-parse", "HEAD").strip()
        # Code only: committed figures change while the experiments run one after the other.
        changes = _git("status", "--porcelain", "--untracked-files=all", "--", *CODE)
    except (OSError, subprocess.SubprocessError):
        return "unknown", "unknown"
    return commit, "true" if changes.strip() else "false"


def _git(*arguments: str) -> str:
    # A git hook exports these, and they would point git at another checkout.
    env = {name: value for name, value in os.environ.items() if name not in GIT_LOCATIONS}
    command = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, check=True, text=True, timeout=60)
    return done.stdout


def fingerprint(experiment: Path, others: Sequence[Path] = ()) -> str:
    """SHA-256 of what an experiment's numbers depend on, whatever the wording.

    Hashed are the syntax trees, without docstrings, of the files of its folder ``experiment`` but
    verdict, figure, long names and command line, of every room of this package but ``report`` and
    ``testing``, but long names, and of ``others``, and the versions of all installed packages that
    these import.
    """
    sources = [(name, path.read_bytes()) for name, path in _sources(experiment, others)]
    digest, modules = _without_wording(sources)
    content = hashlib.sha256(digest.encode())
    installed = importlib.metadata.packages_distributions()
    for distribution in sorted({d for module in modules for d in installed.get(module, ())}):
        content.update(f"{distribution} {importlib.metadata.version(distribution)}\n".encode())
    return content.hexdigest()


def _without_wording(sources: Sequence[tuple[str, bytes]]) -> tuple[str, list[str]]:
    """Return a hash of the syntax trees of files, and the modules that they import.

    Parsing takes longer than importing JAX, so that the answer is kept under a hash of the bytes.
    """
    keep_compilations()
    raw = hashlib.sha256(repr((platform.python_version(), sources)).encode()).hexdigest()
    folder = cache_folder()
    path = None if folder is None else folder / "fingerprints" / raw[:32]
    if path is not None and (kept := read_kept(path)) is not None:
        digest, *modules = kept.decode().split("\n")
        return digest, modules
    content, imported = hashlib.sha256(), set()
    for name, source in sources:
        tree = without_docstrings(ast.parse(source))
        imported |= set(_imported(tree))
        content.update(f"{name}\n{ast.dump(tree)}\n".encode())
    digest, modules = content.hexdigest(), sorted(imported)
    if path is not None:
        keep(path, "\n".join([digest, *modules]).encode())
    return digest, modules


def _sources(experiment: Path, others: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """The files that are hashed, with names that do not depend on where they lie."""
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith(NOT_NUMBERS):
            yield f"slt_jax/{place}", path
    for path in sorted(experiment.glob("*.py")):
        if path.name not in NOT_NUMBERS_OF_EXPERIMENT:
            yield f"{experiment.name}/{path.name}", path
    for path in others:
        yield path.name, path


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree without strings that stand alone: docstrings, and those of attributes."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list):
                kept = [each for each in statements if not _is_string(each)]
                setattr(node, name, kept)
    return tree


def _is_string(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imported(tree: ast.Module) -> Iterator[str]:
    """Top-level names of the modules that a file imports absolutely."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
