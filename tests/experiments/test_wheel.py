"""The wheel brings the experiments under a name of its own, and a command that runs them.

No wheel is built here: what setup.py asks for is read, and installed as links.
"""

import os
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.experiments.commands import NAMES, ROOT


def asked_for(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments that setup.py gives to setuptools."""
    monkeypatch.chdir(ROOT)
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path("setup.py")
    return setup.call_args.kwargs


def test_the_wheel_has_every_package_and_none_called_experiments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packages = asked_for(monkeypatch)["packages"]
    assert {name.split(".")[0] for name in packages} == {"slt_jax", "slt_jax_experiments"}
    folders = [path.parent.relative_to(ROOT) for room in ("slt_jax", "experiments")
               for path in (ROOT / room).rglob("__init__.py")]  # fmt: skip
    names = {".".join(folder.parts) for folder in folders}
    assert {name.removeprefix("slt_jax_") if name.startswith("slt_jax_") else name
            for name in packages} == names  # fmt: skip


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the packages as the wheel would install them."""
    folder = tmp_path / "installed"
    folder.mkdir()
    for name, source in asked_for(monkeypatch)["package_dir"].items():
        (folder / name).symlink_to(ROOT / source)
    (folder / "slt_jax").symlink_to(ROOT / "slt_jax")
    return folder


def test_the_command_works_beside_a_folder_called_experiments(
    installed: Path, tmp_path: Path
) -> None:
    """The folder holds a package of our name, which fails when it is imported."""
    own = tmp_path / "mine" / "experiments"
    (own / "free_energy").mkdir(parents=True)
    for folder in (own, own / "free_energy"):
        (folder / "__init__.py").write_text("raise RuntimeError('not ours')")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["slt-jax"].partition(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}())"

    def done(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=own.parent, text=True,
            env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True, check=False,
        )  # fmt: skip

    listed = done().stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [["slt-jax", name] for name in NAMES]
    helped = done("free_energy", "--help")
    assert helped.returncode == 0, helped.stderr
    assert helped.stdout.startswith("usage: slt-jax free_energy [-h]")
    refused = done("free_energy", "--preset", "smoke", "--problems", "nope")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: problem 'nope': choose from ")
