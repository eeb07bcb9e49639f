"""Problems by name: those of the package, and those that other modules define."""

import subprocess
import sys
from pathlib import Path

import pytest

from slt_jax.models import load, named_problems, problems_of
from slt_jax.models.linear import LinearRegression

ROOT = Path(__file__).resolve().parents[2]

MINE = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from slt_jax.models.linear import LinearRegression
from slt_jax.problem import Problem
from slt_jax.validation import Size

@dataclass(frozen=True, kw_only=True)
class Mine(LinearRegression):
    spare: Size = 0

cubic = Problem("my_cubic", Mine(input_dim=1), {"w": np.ones(1)})

def problems():
    return (Problem("line", LinearRegression(input_dim=1), {"w": np.zeros(1)}),)
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "my_models.py"
    file.write_text(MINE)
    return file


def test_the_room_imports_no_family() -> None:
    code = "import sys, slt_jax.models; print([m for m in sys.modules if 'slt_jax.models.' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_named_problems_are_always_the_same_ones() -> None:
    problems = named_problems()
    assert all(name == problem.name for name, problem in problems.items())
    problems.clear()
    assert named_problems()["tanh_3"] is problems_of(["linear_3", "tanh_3"])[1]


def test_a_name_that_no_problem_has() -> None:
    with pytest.raises(ValueError, match=r"^problem 'tanh3': did you mean tanh_3, .*\?$"):
        problems_of(["linear_3", "tanh3"])
    with pytest.raises(ValueError, match=r"^problem '~': choose from .*\blinear_3\b"):
        problems_of(["~"])


def test_problems_of_a_file(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the name of the problem or of a variable, once, whatever leads to the file."""
    cubic, line = load(f"{mine}:cubic"), load(f"{mine}:line")
    assert (cubic.name, line.name) == ("my_cubic", "line")
    assert isinstance(line.model, LinearRegression)
    monkeypatch.chdir(mine.parent)
    assert load("my_models.py:cubic") is cubic
    assert load("./my_models.py:line") is line
    # Its string annotations are read in the file's own names.
    with pytest.raises(ValueError, match="spare = -1: must be an integer ≥ 0"):
        type(cubic.model)(spare=-1)


def test_files_of_one_name_in_two_folders(mine: Path) -> None:
    other = mine.parent / "other" / mine.name
    other.parent.mkdir()
    other.write_text(MINE.replace("my_cubic", "another"))
    assert load(f"{mine}:cubic").name == "my_cubic"
    assert load(f"{other}:cubic").name == "another"


def test_problems_of_a_module(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(mine.parent))
    assert load("my_models:cubic").name == "my_cubic"
    assert load("slt_jax.models.tanh_net:tanh_3") is not None


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tanh_3", r"'tanh_3': must be package\.module:name or file\.py:name"),
        (":cubic", r"must be package\.module:name or file\.py:name"),
        ("{mine}:", r"must be package\.module:name or file\.py:name"),
        ("{mine}:cubik", r"no problem 'cubik'; did you mean cubic\?"),
        ("{mine}:zzz", r"no problem 'zzz'; choose from line, cubic"),
        ("no_such_module:cubic", r"ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:cubic", r"no problem 'cubic'; choose from none, as there is none"),
        ("absent.py:cubic", r"FileNotFoundError: .*absent\.py"),
        ("{folder}/broken.py:cubic", r"SyntaxError: .*broken\.py"),
        ("{folder}/raises.py:cubic", r"NameError: name 'undefined' is not defined"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_one_line(spec: str, words: str, mine: Path) -> None:
    (mine.parent / "broken.py").write_text("cubic = (")
    (mine.parent / "raises.py").write_text("cubic = undefined")
    for _ in range(2):
        with pytest.raises(ValueError, match=words) as caught:
            load(spec.format(mine=mine, folder=mine.parent))
        assert "\n" not in str(caught.value)
