"""Problems by name: those of the package, and those that other modules define."""

import subprocess
import sys
from pathlib import Path

import pytest

from slt_jax.models import load_problem, named_problems, problems_of, source_files
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

bare = LinearRegression(input_dim=2)

def slope(value, name="slope"):
    return Problem(name, LinearRegression(input_dim=1), {"w": np.full(1, value)})

def number():
    return 1.0

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
    with pytest.raises(ValueError, match="^problem 3: must be a string, as 'tanh_3'"):
        load_problem(3)


def test_problems_of_one_name_are_refused(mine: Path) -> None:
    """They would share their tasks; and so would those whose names are none of a file."""
    with pytest.raises(ValueError, match="two problems are called 'line'"):
        problems_of([f"{mine}:line", f"{mine}:slope(1.0,line)"])
    with pytest.raises(ValueError, match="name 'a/b' must be of letters"):
        problems_of([f"{mine}:slope(1.0,'a/b')"])


def test_problems_with_arguments(mine: Path) -> None:
    """Words are strings and the others literals; the same words give the same problem."""
    problem = load_problem(f"{mine}:slope(-1.5, name=steep)")
    assert (problem.name, float(problem.optimum["w"][0])) == ("steep", -1.5)
    assert load_problem(f"{mine}:slope(-1.5,name=steep)") is problem


def test_a_model_is_a_problem_without_a_truth(mine: Path) -> None:
    problem = load_problem(f"{mine}:bare")
    assert (problem.name, problem.model.dimension, problem.has_truth) == ("bare", 2, False)
    assert load_problem(f"{mine}:bare") is problem


def test_files_that_problems_come_from(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None for those of this package, whose rooms are looked at anyway."""
    package = mine.parent / "mypackage"
    package.mkdir()
    for name in ("__init__.py", "shared.py"):
        (package / name).write_text("")
    (package / "models.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(mine.parent))
    specs = ["linear_3", "slt_jax.models.linear:linear_3", f"{mine}:cubic", f"{mine}:line"]
    assert source_files(specs) == [mine]
    (mine.parent / "noise.py").write_text("import json\nSCALE = 1.0")
    mine.write_text(f"from noise import SCALE\n{MINE}".replace("from __future__", "# "))
    assert source_files([f"{mine}:cubic"]) == [mine, mine.parent / "noise.py"]
    of_package = source_files(["mypackage.models:cubic"])
    assert [file.name for file in of_package] == ["__init__.py", "models.py", "shared.py"]


def test_what_lies_beside_is_found(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a file in its folder, and by modules in the current one, wherever Python looks else."""
    (mine.parent / "beside_a_file.py").write_text("NAME = 'line'")
    text = MINE.replace("def problems", "from beside_a_file import NAME\n\ndef problems")
    mine.write_text(text.replace('Problem("line"', "Problem(NAME"))
    before = list(sys.path)
    assert load_problem(f"{mine}:line").name == "line"
    (mine.parent / "in_this_folder.py").write_text(MINE)
    with pytest.raises(ValueError, match="No module named 'in_this_folder'"):
        load_problem("in_this_folder:line")
    monkeypatch.chdir(mine.parent)
    assert load_problem("in_this_folder:line").name == "line"
    assert source_files(["in_this_folder:line"]) == [mine.parent / "in_this_folder.py"]
    assert sys.path == before


ENTRY_POINTS = """[slt_jax.problems]
my_line = entry_models:line
linear_3 = entry_models:line
"""


def test_problems_of_installed_packages(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name alone, and imported only when they are asked for."""
    (mine.parent / "entry_models.py").write_text(MINE)
    metadata = mine.parent / "entry-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: entry\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(mine.parent))
    with pytest.raises(ValueError, match="did you mean my_line"):
        load_problem("my_lime")
    assert "entry_models" not in sys.modules
    assert load_problem("my_line").name == "line"
    assert source_files(["my_line"]) == [mine.parent / "entry_models.py"]
    with pytest.raises(ValueError, match="'linear_3': entry_models:line of an installed package"):
        load_problem("linear_3")


def test_problems_of_a_file(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the name of the problem or of a variable, once, whatever leads to the file."""
    cubic, line = load_problem(f"{mine}:cubic"), load_problem(f"{mine}:line")
    assert (cubic.name, line.name) == ("my_cubic", "line")
    assert isinstance(line.model, LinearRegression)
    monkeypatch.chdir(mine.parent)
    assert load_problem("my_models.py:cubic") is cubic
    assert load_problem("./my_models.py:line") is line
    # Its string annotations are read in the file's own names.
    with pytest.raises(ValueError, match="spare = -1: must be an integer ≥ 0"):
        type(cubic.model)(spare=-1)


def test_files_of_one_name_in_two_folders(mine: Path) -> None:
    other = mine.parent / "other" / mine.name
    other.parent.mkdir()
    other.write_text(MINE.replace("my_cubic", "another"))
    assert load_problem(f"{mine}:cubic").name == "my_cubic"
    assert load_problem(f"{other}:cubic").name == "another"


def test_problems_of_a_module(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(mine.parent))
    assert load_problem("my_models:cubic").name == "my_cubic"
    assert load_problem("slt_jax.models.tanh_net:tanh_3") is not None


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (":cubic", r"must be a name, package\.module:name or file\.py:name"),
        ("{mine}:", r"must be a name, package\.module:name or file\.py:name"),
        ("", r"must be a name, package\.module:name or file\.py:name"),
        ("{mine}:slope(", r"must be a name, .* without \(arguments\)"),
        ("{mine}:slope(1).x(2)", r"must be a name, .* without \(arguments\)"),
        ("{mine}:slope()", r"TypeError: slope\(\) missing 1 required positional argument"),
        ("{mine}:slop(1)", r"no function 'slop'; did you mean slope\?"),
        ("{mine}:number()", r"is a float: must be a Problem or a Model"),
        ("{mine}:slope", r"no problem 'slope'; choose from line, cubic"),
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
            load_problem(spec.format(mine=mine, folder=mine.parent))
        assert "\n" not in str(caught.value)
