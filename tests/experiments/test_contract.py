"""The experiments from the command line: results, figure, verdict, and refusals.

The smoke preset is run once; later runs ask for its shapes again and find the program compiled.
"""

import contextlib
import dataclasses
import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from experiments import free_energy
from slt_jax.curves import jobs
from slt_jax.models import named_problems
from slt_jax.report import main as cli
from slt_jax.report import plotting
from slt_jax.report.main import ExperimentConfig, run_experiment
from slt_jax.run.store import read_dataset

ROOT = Path(__file__).resolve().parents[2]
SMOKE = free_energy.PRESETS["smoke"]
FILES = [f"free_energy.{kind}" for kind in ("json", "nc", "pdf", "png", "svg")]


same_problems = functools.cache(named_problems)


class Finished(NamedTuple):
    """What a command line left behind."""

    status: int
    out: str
    err: str


def command(*arguments: object, main: Callable[[], None] = free_energy.main) -> Finished:
    """The command line in this process."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    # Programs of data and oracles belong to a problem object: keep one for all runs.
    argv = ["free_energy", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(free_energy, "named_problems", same_problems),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
    return Finished(status, out.getvalue(), err.getvalue())


def in_a_process(*arguments: object, **environment: str) -> Finished:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT, env=os.environ | {"COLUMNS": "100"} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Finished(done.returncode, done.stdout, done.stderr)


class Result(NamedTuple):
    """A finished run and what it wrote."""

    finished: Finished
    folder: Path
    figure: Figure

    @property
    def dataset(self) -> xr.Dataset:
        return read_dataset(self.folder / "free_energy.nc")

    @property
    def verdict(self) -> dict:
        return json.loads((self.folder / "free_energy.json").read_text("utf-8"))


def experiment(folder: Path, *arguments: object) -> Result:
    figures = []
    draw = plotting.free_energy_figure

    def drawn(*args: object) -> Figure:
        figures.append(draw(*args))
        return figures[0]

    with mock.patch.object(plotting, "free_energy_figure", drawn):
        finished = command("--preset", "smoke", "--out", folder, *arguments)
    assert finished.status == 0, finished.err
    assert len(figures) == 1
    return Result(finished, folder, figures[0])


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("smoke")
    return experiment(folder / "new" / "results", "--figures-dir", folder / "figures")


@pytest.fixture(scope="session")
def strict(smoke: Result, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One problem again, with a demand that no job can meet; its figure is drawn but not saved."""
    with (
        mock.patch.object(jobs, "MIN_ACCEPTANCE", 1.1),
        mock.patch.object(plotting, "save_figure", return_value=None),
    ):
        return experiment(tmp_path_factory.mktemp("strict"), "--problems", "linear_3")


def rows(out: str) -> dict[tuple[str, int], str]:
    """Lines of the table by problem and n."""
    found = {}
    for line in out.splitlines():
        words = line.split()
        if len(words) > 2 and words[0] in SMOKE.problems and words[1].isdigit():
            assert (words[0], int(words[1])) not in found
            found[words[0], int(words[1])] = line
    return found


# --- a run that ends well --------------------------------------------------------------------


def test_all_files_are_written(smoke: Result) -> None:
    """Whole and under their names: no temporary file is left. There may be further figures."""
    written = set(os.listdir(smoke.folder)) - {"batches"}
    assert set(FILES) <= written
    assert all(name.startswith("free_energy") for name in written)
    figures = smoke.folder.parents[2] / "figures"
    assert set(os.listdir(figures)) == written - {"free_energy.nc"}
    for name, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        assert (smoke.folder / f"free_energy.{name}").read_bytes().startswith(start)


def test_the_figures_folder_holds_copies(smoke: Result) -> None:
    figures = smoke.folder.parents[2] / "figures"
    different = [
        name
        for name in sorted(os.listdir(figures))
        if (figures / name).read_bytes() != (smoke.folder / name).read_bytes()
    ]
    assert different == []


def test_the_dataset_is_labelled(smoke: Result) -> None:
    dataset = smoke.dataset
    sizes = (*SMOKE.sample_sizes, *SMOKE.exact_sizes)
    expected = {"problem": 3, "n": 3, "replicate": SMOKE.data_sets}
    assert {name: dataset.sizes[name] for name in expected} == expected
    assert dataset["free_energy"].dims == tuple(expected)
    assert tuple(dataset["problem"].to_numpy()) == SMOKE.problems
    assert tuple(dataset["n"].to_numpy()) == sizes
    sampled = dataset.sel(n=list(SMOKE.sample_sizes))
    for name in ("free_energy", "free_energy_ti", "wbic", "lambda_wbic", "bic"):
        assert dataset[name].dims == ("problem", "n", "replicate")
        assert np.isfinite(sampled[name]).all(), name
        assert np.isnan(dataset[name].sel(n=1000)).all(), name
    exact = dataset["exact_free_energy"].sel(problem=["linear_3", "monomial_1_1"])
    assert np.isfinite(exact).all()
    assert np.isnan(dataset["exact_free_energy"].sel(problem="reduced_rank_4_3_2_1")).all()
    config = json.loads(dataset.attrs["config"])
    assert config["preset"] == "smoke"
    assert set(config) == {field.name for field in dataclasses.fields(free_energy.Config)}


def test_every_job_says_whether_it_converged(smoke: Result) -> None:
    """Also the sizes that were not sampled, for problems with an oracle and without."""
    dataset = smoke.dataset
    assert dataset["converged"].dtype == bool
    sampled = dataset.sel(n=list(SMOKE.sample_sizes))
    np.testing.assert_array_equal(sampled["converged"], sampled["reason"] == "")
    assert not dataset["converged"].sel(n=1000).any()
    assert (dataset["reason"].sel(n=1000) == "not sampled").all()


def test_one_compilation_per_model(smoke: Result) -> None:
    assert smoke.verdict["compilations"] == smoke.verdict["models"] == len(SMOKE.problems)
    assert len(smoke.verdict["sizes"]) > 1


def test_the_verdict_has_its_numbers(smoke: Result) -> None:
    verdict = smoke.verdict
    assert set(verdict) == {
        "claims", "problems", "compilations", "models", "sizes", "statement", "provenance",
    }  # fmt: skip
    assert verdict["claims"] == ["N1", "N2"]
    assert verdict["sizes"] == list(SMOKE.sample_sizes)
    assert "N1 holds" in verdict["statement"]
    assert verdict["statement"] in smoke.finished.out
    assert tuple(verdict["problems"]) == tuple(sorted(SMOKE.problems))
    for name, row in verdict["problems"].items():
        assert row["jobs"] == len(SMOKE.sample_sizes) * SMOKE.data_sets
        assert 0 <= row["not_converged"] <= row["jobs"]
        assert np.isfinite([row["wbic_minus_free_energy"], row["wbic_minus_free_energy_se"]]).all()
        assert ("evidence_integral" in row) == (name != "reduced_rank_4_3_2_1")
        # Three seeds are too few for the variance of a t-distribution.
        assert row["calibration"] == {}
    assert verdict["problems"]["linear_3"]["learning_coefficient"] == "3/2"
    assert verdict["problems"]["monomial_1_1"]["multiplicity"] == 2
    assert verdict["provenance"]["config_sha256"] == smoke.dataset.attrs["config_sha256"]


def test_the_table_has_every_problem_and_size(smoke: Result) -> None:
    table = rows(smoke.finished.out)
    assert {n for name, n in table if name == "linear_3"} == {10, 100, 1000}
    for name in SMOKE.problems:
        assert {(name, n) for n in SMOKE.sample_sizes} <= set(table)
    mean = float(smoke.dataset["exact_free_energy"].sel(problem="linear_3", n=100).mean())
    assert f"{mean:.3f}" in table["linear_3", 100]
    assert "±" in table["linear_3", 100]
    assert "±" not in table["linear_3", 1000]


def test_the_figure_has_a_panel_per_problem(smoke: Result) -> None:
    titles = [axis.get_title() for axis in smoke.figure.axes if axis.get_title()]
    assert len(titles) == len(SMOKE.problems)
    labels = [text.get_text() for text in smoke.figure.legends[0].get_texts()]
    assert any("SMC" in label for label in labels)
    assert any("WBIC" in label for label in labels)
    assert len(labels) == len(set(labels))


def test_progress_goes_to_standard_error(smoke: Result) -> None:
    assert "linear_3.smc.n100.0 in" in smoke.finished.err
    assert "14/14" in smoke.finished.err
    assert "14/14" not in smoke.finished.out


# --- again, and jobs that do not converge -----------------------------------------------------


def test_the_same_numbers_again(smoke: Result, strict: Result) -> None:
    """A second run gives the same, and what else is run with a problem does not matter."""
    first, second = (run.dataset.sel(problem="linear_3") for run in (smoke, strict))
    assert strict.verdict["compilations"] == 0
    assert set(first.data_vars) == set(second.data_vars)
    for name in set(first.data_vars) - {"converged", "reason"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


ON_DEVICES = """
import jax, numpy as np, xarray as xr
from experiments import free_energy
from slt_jax.curves.free_energy import curve_batches
from slt_jax.run.devices import JobFunction
from slt_jax.models import named_problems
from slt_jax.run.store import write_dataset
squares = JobFunction(lambda x: x**2, num_static=0, num_shared=0)
values = np.arange(38.0, dtype=np.float32).reshape(19, 2)
np.testing.assert_array_equal(squares(values), values**2)
plan = free_energy.plan_of(free_energy.PRESETS["smoke"])
batches = {b.name: b for b in curve_batches(named_problems()["monomial_1_1"], plan)}
made = xr.merge(batches[f"monomial_1_1.{kind}"].compute() for kind in ("smc.n10.0", "exact.n10"))
write_dataset(made.assign(devices=len(jax.devices())), PATH)
"""


def test_eight_devices_give_what_one_gives(smoke: Result, tmp_path: Path) -> None:
    """The same data and streams; sums in another order may differ in their last digits."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    path = tmp_path / "curve.nc"
    done = in_a_process("-c", ON_DEVICES.replace("PATH", repr(str(path))), XLA_FLAGS=flags)
    assert done.status == 0, done.err
    eight, one = read_dataset(path), smoke.dataset.sel(problem="monomial_1_1", n=10)
    assert eight["devices"] == 8
    np.testing.assert_array_equal(eight["exact_free_energy"], one["exact_free_energy"])
    for name in ("free_energy", "wbic", "bic"):
        np.testing.assert_allclose(eight[name], one[name], rtol=2e-5, atol=1e-5)


def test_unconverged_jobs_are_marked(strict: Result) -> None:
    sampled = strict.dataset.sel(problem="linear_3", n=list(SMOKE.sample_sizes))
    assert not sampled["converged"].any()
    for reason in sampled["reason"].to_numpy().flat:
        assert reason.startswith("acceptance 0.")
        assert reason.endswith("< 1.1")
    row = strict.verdict["problems"]["linear_3"]
    assert row["not_converged"] == row["jobs"] == 6
    assert "6 of 6 jobs did not converge" in strict.verdict["statement"]
    table = rows(strict.finished.out)
    for n in SMOKE.sample_sizes:
        assert table["linear_3", n].endswith("! 3 of 3")
    assert "!" not in table["linear_3", 1000]


def test_the_figure_shows_unconverged_jobs(smoke: Result, strict: Result) -> None:
    def labels(result: Result) -> list[str]:
        return [text.get_text() for text in result.figure.legends[0].get_texts()]

    assert "not converged" in labels(strict)
    assert ("not converged" in labels(smoke)) == (not smoke.dataset["converged"][:, :2].all())
    lines = [line for line in strict.figure.axes[0].lines if line.get_label() == "not converged"]
    assert len(lines) == 1
    np.testing.assert_array_equal(lines[0].get_xdata(), SMOKE.sample_sizes)


# --- refusals ---------------------------------------------------------------------------------


def assert_refused(finished: Finished, folder: Path, before: list[str], words: str) -> None:
    assert finished.status != 0
    assert finished.out == ""
    lines = finished.err.splitlines()
    assert len(lines) == 1, finished.err
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--batch-size 0", "batch_size = 0"),
        ("--memory 0", "memory = 0"),
        ("--memory nan", "memory = nan"),
        ("--worker 3/3", "worker '3/3': must be i/N"),
        ("--process-id 0", "a coordinator is needed"),
        ("--coordinator localhost:1", "num_processes = None"),
        ("--coordinator localhost:1 --num-processes 2 --process-id 2", "process_id = 2: must be"),
        ("--preset nope", "preset 'nope': choose from laptop, smoke, paper"),
        ("--problems linear_3 nope", "problem 'nope'"),
        ("--sample-sizes 1 10", "n = 1"),
        ("--sample-sizes 2 10", "n = 2"),
        ("--sample-sizes 0", "n = 0"),
        ("--exact-sizes 2", "n = 2"),
        ("--sample-sizes 100 10", "(100, 10"),
        ("--sample-sizes 10 10", "(10, 10"),
        ("--exact-sizes 50 40", "exact_sizes = (50, 40): must increase"),
        ("--sample-sizes", "sample sizes"),
        ("--data-sets 1", "data_sets = 1"),
        ("--seeds 1", "seeds = 1"),
        ("--num-chains 1", "num_chains = 1"),
        ("--chain-length 0", "chain_length = 0"),
        ("--integration-steps 0", "integration_steps = 0"),
        ("--step-size -1", "step_size = -1"),
        ("--step-size 0", "step_size = 0"),
        ("--step-size nan", "step_size = nan"),
        ("--step-size inf", "step_size = inf"),
        ("--ess-fraction 2", "ess_fraction = 2"),
        ("--ess-fraction 0", "ess_fraction = 0"),
        ("--ess-fraction nan", "ess_fraction = nan"),
        ("--oracle-level 0", "level = 0"),
        ("--oracle-level 4", "level = 4"),
    ],
)
def test_bad_input_is_refused_before_any_work(
    arguments: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> None:
        raise AssertionError("work has begun")

    monkeypatch.setattr(free_energy, "compute", work)
    preset = () if "--preset" in arguments else ("--preset", "smoke")
    finished = command(*preset, "--out", tmp_path / "results", *arguments.split())
    assert_refused(finished, tmp_path, [], words)


def test_a_file_in_the_way_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "run_batches", None)
    (tmp_path / "file").write_text("kept")
    finished = command("--preset", "smoke", "--out", tmp_path / "file" / "results")
    assert_refused(finished, tmp_path, ["file"], "file is in the way")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_file_in_the_way_of_the_figures_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after an hour of sampling."""
    monkeypatch.setattr(cli, "run_batches", None)
    (tmp_path / "file").write_text("kept")
    finished = command(
        "--preset", "smoke", "--out", tmp_path, "--figures-dir", tmp_path / "file" / "figures"
    )
    assert_refused(finished, tmp_path, ["file"], "file is in the way")


@pytest.mark.usefixtures("smoke")
def test_a_diverging_step_size_is_refused(tmp_path: Path) -> None:
    finished = command(
        "--preset", "smoke", "--problems", "linear_3", "--step-size", "1e6", "--out", tmp_path
    )
    words = "step size 1e+06 diverges on linear_3 at n = 10:"
    assert_refused(finished, tmp_path, ["batches"], words)
    assert not list((tmp_path / "batches").glob("*.nc"))


def test_a_refusal_in_a_process_of_its_own(tmp_path: Path) -> None:
    finished = in_a_process(
        "-m", "experiments.free_energy", "--problems", "nope", "--out", tmp_path / "results"
    )
    assert finished.status == 2
    assert_refused(finished, tmp_path, [], "problem 'nope': choose from ")


# --- help and the command line itself ---------------------------------------------------------


def test_experiments_are_listed() -> None:
    finished = in_a_process("experiments")
    assert (finished.status, finished.err) == (0, "")
    lines = finished.out.splitlines()
    assert len(lines) == len(list((ROOT / "experiments").glob("[!_]*.py")))
    found = [line for line in lines if line.startswith("python -m experiments.free_energy ")]
    assert len(found) == 1
    assert found[0].endswith((free_energy.__doc__ or "").strip())


def test_help_lists_every_field() -> None:
    finished = command("--help")
    assert finished.status == 0
    assert finished.err == ""
    for field in dataclasses.fields(free_energy.Config):
        assert f"--{field.name.replace('_', '-')} " in finished.out.replace(",", " ")
    for preset in free_energy.PRESETS:
        assert preset in finished.out


def parsed(*arguments: object) -> free_energy.Config:
    configs = []
    finished = command(
        *arguments,
        main=lambda: run_experiment("test", "A test.", free_energy.PRESETS, configs.append),
    )
    assert finished == (0, "", "")
    return configs[0]


def test_a_preset_gives_the_defaults_and_flags_override_them() -> None:
    replace = dataclasses.replace
    assert parsed() == replace(free_energy.Config(), out=Path("results/test/laptop"))
    assert parsed("--preset", "smoke") == replace(SMOKE, out=Path("results/test/smoke"))
    assert parsed("--preset", "smoke", "--out", "here") == replace(SMOKE, out=Path("here"))
    changed = parsed("--seeds", 5, "--preset", "smoke", "--problems", "linear_3", "--float64")
    expected = replace(SMOKE, seeds=5, problems=("linear_3",), float64=True, out=changed.out)
    assert changed == expected


def test_every_configuration_has_a_folder_of_its_own() -> None:
    """Unless only the manner of the run differs, which must find what was done before."""
    variations = [(), ("--seeds", 5), ("--seeds", 6), ("--seed", 1), ("--preset", "smoke")]
    folders = {parsed(*arguments).out for arguments in variations}
    assert len(folders) == len(variations)
    for manner in (("--memory", 1), ("--worker", "1/2"), ("--restart",), ("--figures-dir", "f")):
        assert parsed(*manner).out == Path("results/test/laptop")


def test_presets_are_runnable() -> None:
    for name, config in free_energy.PRESETS.items():
        assert config.preset == name
        assert free_energy.choose(config)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("two\n  lines"), 2, "error: two lines"),
        (OSError(28, "No space left"), 2, "error: [Errno 28] No space left"),
        (KeyboardInterrupt(), 130, "interrupted; no result was written"),
    ],
)
def test_errors_become_one_line(error: BaseException, status: int, line: str) -> None:
    def fail(config: ExperimentConfig) -> None:
        raise error

    finished = command(
        main=lambda: run_experiment("test", "A test.", {"laptop": ExperimentConfig()}, fail)
    )
    assert finished == (status, "", line + "\n")


def test_a_defect_is_not_disguised_as_bad_input() -> None:
    def fail(config: ExperimentConfig) -> None:
        raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError):
        command(main=lambda: run_experiment("t", "A test.", {"laptop": ExperimentConfig()}, fail))
