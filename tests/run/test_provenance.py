"""What is recorded of a run, and when saved tasks may be used again."""

import dataclasses
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

from slt_jax.run import provenance as made_by
from slt_jax.run.provenance import config_hash, config_json, fingerprint, provenance
from slt_jax.run.store import read_dataset, write_dataset, write_json

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    shape: tuple[int, ...] = (2, 3)


@dataclasses.dataclass(frozen=True)
class Config:
    name: str = "λ"
    results_dir: Path = Path("results/free_energy")
    inner: Inner = Inner()
    seeds: dict[str, int] = dataclasses.field(default_factory=lambda: {"b": 1, "a": 2})
    truth: float | None = None


def test_the_hash_is_of_the_content() -> None:
    assert config_hash(Config()) == config_hash(Config(seeds={"a": 2, "b": 1}))
    assert config_hash(Config()) == config_hash(dataclasses.asdict(Config()))
    others = [Config(name="other"), Config(inner=Inner(rate=0.2)), Config(truth=0.0)]
    assert len({config_hash(config) for config in [Config(), *others]}) == 4


def test_the_hash_is_the_same_in_every_process() -> None:
    """A stored number: runs resume by it, so that it must survive new versions of the code."""
    assert config_json({"b": 0.1, "a": [1, None]}) == '{"a": [1, null], "b": 0.1}'
    assert config_hash({"b": 0.1, "a": [1, None]}).startswith("1e721d1451e6")


def test_provenance(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    record = provenance(Config())
    assert all(isinstance(value, str | int | float) for value in record.values())
    assert json.loads(str(record["config"])) == {
        "name": "λ",
        "results_dir": "results/free_energy",
        "inner": {"rate": 0.1, "shape": [2, 3]},
        "seeds": {"a": 2, "b": 1},
        "truth": None,
    }
    assert record["config_sha256"] == config_hash(Config())
    assert record["jax_version"] == jax.__version__
    assert record["numpy_version"] == np.__version__
    assert record["python_version"] == platform.python_version()
    assert record["device_platform"] == jax.default_backend()
    assert record["device_count"] == jax.device_count()
    created = datetime.fromisoformat(str(record["created_utc"]))
    assert before <= created <= datetime.now(UTC)
    assert created.utcoffset() is not None
    write_dataset(xr.Dataset(attrs=record), tmp_path / "result.nc")
    write_json(record, tmp_path / "result.json")
    back = read_dataset(tmp_path / "result.nc").attrs
    assert {name: back[name] for name in record} == record
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == record


def test_provenance_knows_64_bit_types() -> None:
    assert provenance({})["x64"] == "false"
    with jax.enable_x64(True):
        assert provenance({})["x64"] == "true"


def test_provenance_tells_no_places(tmp_path: Path) -> None:
    text = json.dumps(provenance(Config(results_dir=tmp_path / "results")))
    assert '\\"results_dir\\": \\"results\\"' in text
    for place in (tmp_path, Path.home(), ROOT, Path.cwd(), sys.prefix):
        assert len(str(place)) < 3 or str(place) not in text
    assert len(platform.node()) < 4 or platform.node() not in text


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout that the package seems to lie in, with one commit."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for name in made_by.GIT_LOCATIONS:
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "checkout"
    for file in ("slt_jax/provenance.py", "figures/a.json", "pyproject.toml"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("old")
    git(tmp_path, "init", "--quiet", str(root))
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    monkeypatch.setattr(made_by, "__file__", str(root / "slt_jax" / "provenance.py"))
    return root


def git_state() -> tuple[object, object]:
    record = provenance({})
    return record["git_commit"], record["git_dirty"]


def test_a_clean_checkout(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert git_state() == (commit, "false")
    (checkout / "figures" / "a.json").write_text("new")
    (checkout / "figures" / "b.json").write_text("new")
    assert git_state() == (commit, "false")


@pytest.mark.parametrize(
    "file", ["slt_jax/provenance.py", "pyproject.toml", "experiments/new/a.py"]
)
def test_a_changed_checkout(file: str, checkout: Path) -> None:
    (checkout / file).parent.mkdir(parents=True, exist_ok=True)
    (checkout / file).write_text("new")
    assert git_state() == (git(checkout, "rev-parse", "HEAD"), "true")


def test_a_package_installed_inside_another_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = checkout / ".venv" / "slt_jax" / "provenance.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    monkeypatch.setattr(made_by, "__file__", str(installed))
    assert git_state() == ("unknown", "unknown")


def test_a_checkout_without_commits(tmp_path: Path, checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    git(tmp_path, "init", "--quiet", str(checkout))
    git(checkout, "add", ".")
    assert git_state() == ("unknown", "unknown")


def test_no_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_by, "__file__", str(tmp_path / "provenance.py"))
    assert git_state() == ("unknown", "unknown")


def test_no_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert git_state() == ("unknown", "unknown")


def test_inside_a_hook_of_another_checkout(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert git_state() == (commit, "false")


# --- the fingerprint of the code that numbers depend on ----------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of one experiment and of some rooms of the package, to be edited and mended."""
    root = tmp_path_factory.mktemp("project")
    for name in ("slt_jax/run", "slt_jax/curves", "slt_jax/report", "experiments/free_energy"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "experiments" / "free_energy" / "quantities.py").write_text("QUANTITIES = {}")
    (root / "slt_jax" / "samplers").mkdir()
    shutil.copy(ROOT / "slt_jax" / "samplers" / "hmc.py", root / "slt_jax" / "samplers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made_by, "PACKAGE", root / "slt_jax")
        yield root


@pytest.fixture(scope="module")
def unchanged(project: Path) -> str:
    return of_project(project)


def of_project(project: Path) -> str:
    return fingerprint(project / "experiments" / "free_energy", [*project.glob("own.py")])


def of_edited(project: Path, file: str, old: str, new: str) -> str:
    """The fingerprint with another text in a file, which is mended again."""
    path = project / file
    text = path.read_text("utf-8")
    assert old in text, file
    try:
        path.write_text(text.replace(old, new, 1), "utf-8")
        return of_project(project)
    finally:
        path.write_text(text, "utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("experiments/free_energy/__init__.py", "data_sets=100", "data_sets=99"),
        ("experiments/free_energy/study.py", "problem.showcase", "not problem.showcase"),
        ("slt_jax/curves/free_energy.py", "EVIDENCE_SIZE = 2", "EVIDENCE_SIZE = 3"),
        ("slt_jax/samplers/hmc.py", "DIVERGENCE = ", "DIVERGENCE = 1 + "),
    ],
)
def test_an_edit_that_may_change_numbers_sets_saved_tasks_aside(
    file: str, old: str, new: str, project: Path, unchanged: str
) -> None:
    assert of_edited(project, file, old, new) != unchanged


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("experiments/free_energy/verdict.py", "ERRORS = 4.0", "ERRORS = 5.0"),
        ("slt_jax/run/quantities.py", "sample size n", "number of data"),
        ("experiments/free_energy/quantities.py", "{}", "dict()"),
        ("experiments/free_energy/__main__.py", "main(__package__)", "main('experiments.other')"),
        ("experiments/free_energy/__init__.py", "Every field is a flag", "Fields are flags"),
        ("slt_jax/report/plotting.py", "font.size", "font.family"),
        ("slt_jax/curves/free_energy.py", "EVIDENCE_SIZE = 2", "EVIDENCE_SIZE = 2  # data"),
    ],
)
def test_wording_and_drawing_leave_saved_tasks_in_use(
    file: str, old: str, new: str, project: Path, unchanged: str
) -> None:
    assert of_edited(project, file, old, new) == unchanged


def test_the_fingerprint_knows_models_from_elsewhere_and_versions(
    project: Path, unchanged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = project / "own.py"
    own.write_text("import numpy\nSCALE = 1")
    of_own = of_project(project)
    changed = of_edited(project, "own.py", "1", "2")
    own.unlink()
    assert len({unchanged, of_own, changed}) == 3
    monkeypatch.setattr(made_by.importlib.metadata, "version", lambda name: "0")
    assert of_project(project) != unchanged


def test_the_same_code_has_the_same_fingerprint_in_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(made_by, "PACKAGE", ROOT / "slt_jax")
    folder = ROOT / "experiments" / "free_energy"
    command = f"""
from pathlib import Path
from slt_jax.run.provenance import fingerprint
print(fingerprint(Path({str(folder)!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint(folder)


def test_a_fingerprint_that_is_kept_follows_the_code_and_outlives_damage(tmp_path: Path) -> None:
    folder, cache = tmp_path / "growth", tmp_path / "cache"
    folder.mkdir()
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(cache))
    try:
        seen = []
        for text in ("a = 1", "a = 2", "a = 1", '"""Wording."""\na = 1'):
            (folder / "study.py").write_text(text)
            seen += [fingerprint(folder), fingerprint(folder)]
        kept = list((cache / "fingerprints").iterdir())
        for path in kept:
            path.write_bytes(b"0" * 64)
        assert fingerprint(folder) == seen[0]
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert seen[0] == seen[1] == seen[4] == seen[6] == fingerprint(folder)
    assert seen[2] == seen[3] != seen[0]
    assert len(kept) == 3
