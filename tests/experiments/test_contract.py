"""The contract of all experiments, found by their being there: help, presets, bounds and a run.

The smoke runs of two experiments are in the fast suite, one of which its own tests look at too;
those of the others are slow. The verdicts on made-up datasets are tested with each experiment.
"""

import dataclasses
import functools
import importlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import numpy as np
import pytest
import xarray as xr

import slt_jax
from slt_jax.report import main as command_line
from slt_jax.report.export import tidy_table
from slt_jax.run.config import ExperimentConfig, parse
from slt_jax.run.config import command_line as command_line_of
from slt_jax.run.store import read_dataset
from slt_jax.validation import (
    Above,
    AtLeast,
    Between,
    Different,
    Increasing,
    OrMore,
    ProblemSpecs,
    Within,
    annotations_of,
)
from tests.experiments.commands import (
    NAMES,
    ROOT,
    assert_refused,
    command,
    experiment,
    finished_run,
    run,
)

FAST = ("free_energy", "learning_curves")

each = pytest.mark.parametrize("name", NAMES)


# --- help and presets -------------------------------------------------------------------------


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT, env=os.environ | {"COLUMNS": "100"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_experiments_are_listed_with_their_questions() -> None:
    done = in_a_process("-m", "experiments")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(NAMES)
    for name, line in zip(NAMES, lines, strict=True):
        assert line.startswith(f"python -m experiments.{name} ")
        assert line.endswith(experiment(name).__doc__.splitlines()[0])
        assert line.rstrip().endswith("?") or "(" in line


def test_an_experiment_is_run_by_name_and_no_other() -> None:
    for wrong, words in (
        ("nope", f"choose from {', '.join(NAMES)}"),
        ("free-energy", "did you mean free_energy?"),
    ):
        done = in_a_process("-m", "experiments", wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: experiment {wrong!r}: {words}\n"
    helped = in_a_process("-m", "experiments", "free_energy", "--help")
    assert "usage: python -m experiments.free_energy" in helped.stdout
    assert "--problems" in helped.stdout


HELP = """
import sys
from slt_jax.report.main import main
try:
    main("experiments.NAME")
finally:
    print("imported:", *sorted({"jax", "numpyro", "matplotlib"} & set(sys.modules)))
"""


@each
def test_help_says_every_field_with_its_bounds_and_imports_no_jax(name: str) -> None:
    done = in_a_process("-c", HELP.replace("NAME", name), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.replace("│", " ").split())
    assert done.stdout.splitlines()[-1] == "imported:"
    for field in dataclasses.fields(experiment(name).Config):
        assert f"--{field.name.replace('_', '-')} " in text.replace(",", " ")
    for _, bound in bounds(name):
        assert str(bound) in text
    for preset in experiment(name).PRESETS:
        assert preset in text


@each
def test_presets_say_their_name_and_give_tasks(name: str) -> None:
    presets = experiment(name).PRESETS
    first, second, *_, last = presets
    assert (first, second, last) == ("laptop", "smoke", "paper")
    for preset, config in presets.items():
        assert config.preset == preset
        assert isinstance(config, ExperimentConfig)
    assert presets["laptop"] == experiment(name).Config()


@each
def test_flags_override_a_preset_and_have_a_folder_of_their_own(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: list[ExperimentConfig] = []
    monkeypatch.setattr(command_line, "run", lambda package, config: configs.append(config))
    for arguments in ((), ("--seed", 5), ("--seed", 6), ("--preset", "smoke")):
        assert command(name, *arguments) == (0, "", "")
    for manner in (("--memory", 1), ("--worker", "1/2"), ("--restart",), ("--figures-dir", "f")):
        assert command(name, *manner) == (0, "", "")
    presets = experiment(name).PRESETS
    folder = functools.partial(command_line.default_folder, name, presets=presets)
    folders = [folder(config) for config in configs]
    assert configs[1] == dataclasses.replace(presets["laptop"], seed=5)
    assert configs[3] == presets["smoke"]
    assert len(set(folders[:4])) == 4
    assert set(folders[4:]) == {folders[0]} == {Path("results") / name / "laptop"}


@each
def test_a_command_that_is_written_down_makes_the_same_configuration(name: str) -> None:
    presets = experiment(name).PRESETS
    for config in (*presets.values(), *(dataclasses.replace(presets[preset], preset="laptop")
                                        for preset in ("smoke", "paper"))):  # fmt: skip
        written = command_line_of("python -m it", presets, config)
        again = parse("it", "", presets, shlex.split(written)[3:])
        assert again.identity == config.identity
    assert command_line_of("python -m it", presets, presets["smoke"]) == (
        "python -m it --preset smoke"
    )


# --- refusals ---------------------------------------------------------------------------------


def bounds(name: str) -> Iterator[tuple[str, Any]]:
    """Fields of an experiment with the bounds that they declare, of entries of tuples too."""
    for field, declared in annotations_of(experiment(name).Config).items():
        yield from ((field, bound) for bound in inner_bounds(declared))


def inner_bounds(declared: Any) -> list[Any]:
    inner = get_args(declared)
    if get_origin(declared) is Annotated:
        return [*inner[1:], *inner_bounds(inner[0])]
    return [bound for part in inner for bound in inner_bounds(part)]


def outside(bound: Any, value: Any) -> list[Any]:
    """Values that a bound refuses, made from one that it allows."""
    match bound:
        case AtLeast(minimum):
            wrong: list[Any] = [minimum - 1]
        case Within(minimum, maximum):
            wrong = [minimum - 1, maximum + 1]
        case Above(minimum):
            wrong = [minimum]
        case Between(_, high):
            wrong = [high]
        case OrMore():
            return [()]
        case Increasing():
            return [tuple(reversed(value)) if len(value) > 1 else value * 2]
        case ProblemSpecs():
            return [("",)]
        case Different():
            return [(*value, *value) if value else ("linear_3", "linear_3")]
        case _:
            raise TypeError(f"no value outside {bound!r} is known")
    return [(each, *value[1:]) for each in wrong] if isinstance(value, tuple) else wrong


@each
def test_every_bound_refuses_in_one_line_that_names_the_field(name: str) -> None:
    smoke = experiment(name).PRESETS["smoke"]
    tried = 0
    for field, bound in bounds(name):
        for wrong in outside(bound, getattr(smoke, field)):
            with pytest.raises(ValueError, match=rf"^{field}(\[0\])? = ") as caught:
                dataclasses.replace(smoke, **{field: wrong})
            assert "\n" not in str(caught.value)
            tried += 1
    assert tried >= 5


@each
def test_no_size_is_without_bound(name: str) -> None:
    """An n that no double holds, or beyond the data that differ, is refused by the field."""
    config = experiment(name).Config()
    fields = {field.name for field in dataclasses.fields(config) if field.name.endswith("sizes")}
    assert fields
    for field in fields:
        with pytest.raises(ValueError, match=rf"^{field}\[0\] = 10{{30}}: must be an integer"):
            dataclasses.replace(config, **{field: (10**30,)})


@each
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--preset nope", "preset 'nope': choose from laptop, smoke, "),
        ("--preset smok", "preset 'smok': did you mean smoke?"),
        ("--preset", "expected one argument"),
        ("--seed -1", "seed = -1: must be an integer from 0"),
        ("--seed nope", "seed = nope: must be an integer from 0 to 4294967295"),
        ("--memory nope", "memory = nope: must be a number > 0"),
        ("--xyzzy 1", "unknown flag --xyzzy: --help lists all flags"),
        ("--sed 1", "unknown flag --sed: did you mean --seed"),
        ("--restrat", "unknown flag --restrat: did you mean --restart"),
        ("--worker_ 0/2", "unknown flag --worker_: did you mean --worker"),
        ("stray", "stray"),
        ("--memory 0", "memory = 0"),
        ("--memory nan", "memory = nan"),
        ("--worker 3/3", "worker '3/3': must be i/N"),
        ("--process-id 0", "a coordinator is needed"),
        ("--coordinator localhost:1", "num_processes = None"),
        ("--coordinator localhost:1 --num-processes 2 --process-id 2", "process_id = 2: must be"),
    ],
)
def test_bad_flags_are_refused_before_any_work(
    name: str, arguments: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "compute", None)
    preset = () if "--preset" in arguments else ("--preset", "smoke")
    assert_refused(command(name, "--out", tmp_path / "out", *preset, *arguments.split()), words)
    assert os.listdir(tmp_path) == []


@each
def test_an_unknown_problem_is_refused_before_any_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "compute", None)
    fields = {field.name for field in dataclasses.fields(experiment(name).Config)}
    flags = [field for field in ("problems", "nets") if field in fields]
    for flag in flags:
        finished = command(
            name, "--preset", "smoke", "--out", tmp_path / "out", f"--{flag}", "nope"
        )
        assert_refused(finished, "'nope'")
    assert os.listdir(tmp_path) == []


# A problem that suits each experiment, the family that defines it, and the field.
SUITABLE = {
    "free_energy": ("problems", "linear", "linear_3"),
    "learning_curves": ("problems", "monomial", "monomial_2_1"),
    "learning_exponents": ("nets", "tanh_net", "tanh_1"),
    "unrealisable": ("problems", "normal_parabola", "parabola_two_optima"),
}


def test_every_experiment_on_problems_is_tried() -> None:
    takes = {name for name in NAMES for _, b in bounds(name) if isinstance(b, ProblemSpecs)}
    assert takes == set(SUITABLE)


@pytest.mark.parametrize("name", SUITABLE)
def test_problems_come_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks are those of the problem by name, and belong to the code of the file."""
    field, family, problem = SUITABLE[name]
    file = tmp_path / "mine.py"
    file.write_text(f"from slt_jax.models.{family} import problems")
    preset = experiment(name).PRESETS["smoke"]
    study = importlib.import_module(f"experiments.{name}.study")
    by_name, by_file = (
        study.tasks(dataclasses.replace(preset, **{field: (spec,)}))
        for spec in (problem, f"{file}:{problem}")
    )
    assert [task.name for task in by_file] == [task.name for task in by_name]

    def stopped(folder: Path, others: list[Path]) -> str:
        raise ValueError(f"the code is that of {', '.join(map(str, others))}")

    monkeypatch.setattr("slt_jax.run.provenance.fingerprint", stopped)
    flags = ("--preset", "smoke", "--out", tmp_path / "out", f"--{field}", f"{file}:{problem}")
    assert_refused(command(name, *flags), f"the code is that of {file}")


def test_teachers_and_students_are_problems_by_name() -> None:
    study = importlib.import_module("experiments.free_energy.study")
    smoke, spec = experiment("free_energy").PRESETS["smoke"], "teacher_student(silu, 1, 3)"
    tasks = study.tasks(dataclasses.replace(smoke, problems=(spec,)))
    assert tasks
    assert {task.name.split(".")[0] for task in tasks} == {"teacher_student_silu_1_3"}


@each
def test_a_file_in_the_way_is_refused_before_any_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the results and of the figures: not after an hour of sampling."""
    from slt_jax.run import sweep

    monkeypatch.setattr(sweep, "run_tasks", None)
    (tmp_path / "file").write_text("kept")
    for flags in (
        ("--out", tmp_path / "file" / "results"),
        ("--out", tmp_path / "out", "--figures-dir", tmp_path / "file" / "figures"),
    ):
        assert_refused(command(name, "--preset", "smoke", *flags), "file is in the way")
    assert (tmp_path / "file").read_text() == "kept"


# --- a run ------------------------------------------------------------------------------------


runs = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in NAMES],
)


@runs
def test_a_run_leaves_dataset_verdict_and_figures(name: str, folder: Path) -> None:
    """Whole and under their names: no temporary file is left."""
    made = finished_run(name, folder / name)
    written = set(os.listdir(made.folder)) - {"tasks"}
    kinds = ("png", "svg", "pdf")
    figures = {path.stem for path in made.folder.glob("*.png")}
    assert written == {f"{name}.nc", f"{name}.json", *(f"{f}.{k}" for f in figures for k in kinds)}
    assert name in figures
    copies = folder / name / "figures"
    assert set(os.listdir(copies)) == written - {f"{name}.nc"}
    for file in os.listdir(copies):
        assert (copies / file).read_bytes() == (made.folder / file).read_bytes()
    config = made.dataset.attrs["config"]
    assert '"preset": "smoke"' in config


@runs
def test_a_verdict_quotes_its_claims_and_says_why(name: str, folder: Path) -> None:
    verdict = finished_run(name, folder / name).verdict
    assert set(verdict) == {"claims", "statement", "numbers", "provenance"}
    out = finished_run(name, folder / name).finished.out
    assert verdict["statement"] in out
    for claim, finding in verdict["claims"].items():
        assert finding["claim"] == claim
        assert f"({claim})" not in finding["passage"]
        assert finding["outcome"].startswith(("holds", "fails", "is undecided"))
        assert 1 <= sentences(finding["why"]) <= 3, finding["why"]
        assert f"“{finding['passage']}” ({claim}) {finding['outcome']}." in out


def sentences(text: str) -> int:
    return sum(text.count(f"{end} ") for end in ".!?") + 1


@runs
def test_the_same_command_goes_on_from_what_is_saved(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one of the tasks; what figures look like is seen of the first run."""
    monkeypatch.setattr("slt_jax.report.plotting.save_figure", lambda *_: None)
    made = finished_run(name, folder / name)
    copy = shutil.copytree(made.folder, tmp_path / "out")
    dataset = made.dataset
    victim = sorted((copy / "tasks").glob("*.nc"))[0]
    victim.unlink()
    again = run(name, copy)
    count = len(list((copy / "tasks").glob("*.nc")))
    assert f"{count - 1} of {count} tasks are already on disk" in again.finished.err
    xr.testing.assert_identical(dataset.drop_attrs(), again.dataset.drop_attrs())
    assert list(victim.parent.glob(f"{victim.name.rsplit('.', 2)[0]}.*.nc"))


# Axes along which nothing differs but chance.
UNNUMBERED = {"replicate", "design", "net_design", "repeat", "draw"}


@runs
def test_every_number_of_the_dataset_is_labelled(name: str, folder: Path) -> None:
    dataset = finished_run(name, folder / name).dataset
    for variable in dataset.data_vars.values():
        assert all(axis in dataset.coords or axis in UNNUMBERED for axis in variable.dims), (
            variable.name
        )
    assert all(np.isfinite(dataset[axis]).all() for axis in dataset.dims
               if axis in dataset.coords and dataset[axis].dtype.kind == "f")  # fmt: skip
    for key, variable in dataset.variables.items():
        assert variable.attrs.keys() >= {"long_name", "units"}, key
        assert (variable.attrs["units"] == "text") == (variable.dtype.kind in "UOT"), key


@runs
def test_a_dataset_says_its_question_its_claims_and_its_command(name: str, folder: Path) -> None:
    made = finished_run(name, folder / name)
    attributes = made.dataset.attrs
    assert attributes["title"] == experiment(name).__doc__.splitlines()[0]
    assert attributes["command"] == f"python -m experiments.{name} --preset smoke"
    assert attributes["command"] == made.verdict["provenance"]["command"]
    assert attributes["slt_jax_version"] == slt_jax.__version__
    for claim, finding in made.verdict["claims"].items():
        assert f"{claim}: {finding['passage']}" in attributes["claims"].splitlines()


@runs
def test_a_dataset_becomes_a_table(name: str, folder: Path) -> None:
    """With the numbers of the variables that share most of its axes, and so do all saved tasks."""
    made = finished_run(name, folder / name)
    dataset = made.dataset
    table = tidy_table(dataset)
    rows = [axis for axis in table.columns if axis in dataset.dims]
    assert len(table) == np.prod([dataset.sizes[axis] for axis in rows])
    for key, variable in dataset.data_vars.items():
        if set(variable.dims) == set(rows):
            np.testing.assert_array_equal(table[key], variable.transpose(*rows).to_numpy().ravel())
    for file in (made.folder / "tasks").glob("*.nc"):
        task = read_dataset(file)
        assert len(tidy_table(task)) >= 1


@runs
def test_no_quantity_is_described_that_is_nowhere(name: str, folder: Path) -> None:
    dataset = finished_run(name, folder / name).dataset
    own = command_line.quantities_of(f"experiments.{name}")
    assert set(own) <= set(map(str, dataset.variables))
