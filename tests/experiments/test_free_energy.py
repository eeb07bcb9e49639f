"""The free-energy experiment: its dataset, table, figure and verdict, from one small run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.free_energy import PRESETS
from experiments.free_energy.figure import figure
from experiments.free_energy.study import chosen
from experiments.free_energy.verdict import verdict
from slt_jax.curves import jobs
from slt_jax.report.plotting import Figure
from slt_jax.run.store import read_dataset
from tests.experiments.commands import ROOT, Run, assert_refused, command, finished_run, run

SMOKE = PRESETS["smoke"]


@pytest.fixture(scope="session")
def smoke(folder: Path) -> Run:
    return finished_run("free_energy", folder / "free_energy")


@pytest.fixture(scope="session")
def strict(smoke: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One problem again, whose program is compiled, with a demand that no job can meet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "MIN_ACCEPTANCE", 1.1)
        patch.setattr("slt_jax.report.plotting.save_figure", lambda *_: None)
        return run("free_energy", tmp_path_factory.mktemp("strict"), "--problems", "linear_3")


def rows(out: str) -> dict[tuple[str, int], str]:
    """Lines of the table by problem and n."""
    lines = {}
    for line in out.splitlines():
        words = line.split()
        if len(words) > 2 and words[0] in SMOKE.problems and words[1].isdigit():
            assert (words[0], int(words[1])) not in lines
            lines[words[0], int(words[1])] = line
    return lines


# --- a run that ends well --------------------------------------------------------------------


def test_the_dataset_is_labelled(smoke: Run) -> None:
    dataset = smoke.dataset
    sizes = (*SMOKE.sample_sizes, *SMOKE.exact_sizes)
    expected = {"problem": 3, "n": 3, "replicate": SMOKE.data_sets}
    assert {name: dataset.sizes[name] for name in expected} == expected
    assert dataset["normalised_free_energy"].dims == tuple(expected)
    assert tuple(dataset["problem"].to_numpy()) == SMOKE.problems
    assert tuple(dataset["n"].to_numpy()) == sizes
    sampled = dataset.sel(n=list(SMOKE.sample_sizes))
    for name in ("free_energy", "free_energy_ti", "wbic", "bic"):
        assert np.isfinite(sampled[f"normalised_{name}"]).all(), name
        assert np.isnan(dataset[f"normalised_{name}"].sel(n=1000)).all(), name
    exact = dataset["exact_normalised_free_energy"]
    assert np.isfinite(exact.sel(problem=["linear_3", "monomial_1_1"])).all()
    assert np.isnan(exact.sel(problem="reduced_rank_4_3_2_1")).all()
    known = dataset["exact_learning_coefficient"].to_numpy().tolist()
    assert known == ["3/2", "1/2", "4"]
    logs = np.log([10, 100, 1000])
    for name, asymptote in (("linear_3", 1.5 * logs), ("monomial_1_1", 0.5 * logs - np.log(logs))):
        np.testing.assert_allclose(dataset["asymptote"].sel(problem=name), asymptote)


def test_every_job_says_whether_it_converged(smoke: Run) -> None:
    """Also the sizes that were not sampled, for problems with an oracle and without."""
    dataset = smoke.dataset
    assert dataset["converged"].dtype == bool
    sampled = dataset.sel(n=list(SMOKE.sample_sizes))
    np.testing.assert_array_equal(sampled["converged"], sampled["reason"] == "")
    assert not dataset["converged"].sel(n=1000).any()
    assert (dataset["reason"].sel(n=1000) == "not sampled").all()


def test_one_compilation_per_model(smoke: Run) -> None:
    numbers = smoke.verdict["numbers"]
    assert len(numbers["problems"]) == len(SMOKE.problems)
    # Two sizes of three models; what other tests have compiled is not compiled again.
    assert 1 <= numbers["sampler_compilations"] <= len(SMOKE.problems)


def test_the_verdict_has_its_numbers(smoke: Run) -> None:
    claims, numbers = smoke.verdict["claims"], smoke.verdict["numbers"]
    assert list(claims) == ["N1", "N2"]
    assert claims["N1"]["outcome"] == "holds"
    # Three seeds are too few for the variance of a t-distribution.
    assert claims["N2"]["outcome"] == "is undecided"
    assert tuple(numbers["problems"]) == tuple(sorted(SMOKE.problems))
    for name, row in numbers["problems"].items():
        assert row["jobs"] == len(SMOKE.sample_sizes) * SMOKE.data_sets
        assert 0 <= row["not_converged"] <= row["jobs"]
        assert np.isfinite([row["wbic_minus_free_energy"], row["wbic_minus_free_energy_se"]]).all()
        assert ("evidence_integral" in row) == (name != "reduced_rank_4_3_2_1")
        assert row["calibration"] == {}
    assert numbers["problems"]["linear_3"]["learning_coefficient"] == "3/2"
    assert numbers["problems"]["monomial_1_1"]["multiplicity"] == 2


def test_the_table_has_every_problem_and_size(smoke: Run) -> None:
    table = rows(smoke.finished.out)
    for name in SMOKE.problems:
        assert {n for problem, n in table if problem == name} == {10, 100, 1000}
    exact = smoke.dataset["exact_normalised_free_energy"].sel(problem="linear_3", n=100)
    assert f"{float(exact.mean()):.3f}" in table["linear_3", 100]
    assert "±" in table["linear_3", 100]
    assert "±" not in table["linear_3", 1000]


def drawn(result: Run) -> Figure:
    dataset = result.dataset
    dataset.attrs["compilations"] = {}
    return figure(dataset, verdict(dataset))["free_energy"]


def labels(drawing: Figure) -> list[str]:
    return [text.get_text() for text in drawing.legends[0].get_texts()]


def test_the_figure_has_a_panel_per_problem(smoke: Run) -> None:
    drawing = drawn(smoke)
    titles = [axis.get_title() for axis in drawing.axes if axis.get_title()]
    assert len(titles) == len(SMOKE.problems)
    assert any("SMC" in label for label in labels(drawing))
    assert any("WBIC" in label for label in labels(drawing))
    assert len(labels(drawing)) == len(set(labels(drawing)))


def test_progress_goes_to_standard_error(smoke: Run) -> None:
    assert "linear_3.smc.n100.0 in" in smoke.finished.err
    assert "14/14" in smoke.finished.err
    assert "14/14" not in smoke.finished.out


# --- again, on other devices, and jobs that do not converge ------------------------------------


def test_the_same_numbers_again(smoke: Run, strict: Run) -> None:
    """A second run gives the same, and what else is run with a problem does not matter."""
    first, second = (result.dataset.sel(problem="linear_3") for result in (smoke, strict))
    assert strict.verdict["numbers"]["sampler_compilations"] == 0
    assert set(first.data_vars) == set(second.data_vars)
    for name in set(first.data_vars) - {"converged", "reason"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


ON_DEVICES = """
import jax, numpy as np, xarray as xr
from experiments.free_energy import PRESETS
from slt_jax.curves.free_energy import curve_tasks
from slt_jax.run.devices import JobFunction
from slt_jax.models import named_problems
from slt_jax.run.store import write_dataset
squares = JobFunction(lambda x: x**2, num_static=0, num_shared=0)
values = np.arange(38.0, dtype=np.float32).reshape(19, 2)
np.testing.assert_array_equal(squares(values), values**2)
problem = named_problems()["monomial_1_1"]
tasks = {task.name: task for task in curve_tasks(problem, PRESETS["smoke"])}
made = xr.merge(tasks[f"monomial_1_1.{kind}"].compute() for kind in ("smc.n10.0", "exact.n10"))
write_dataset(made.assign(devices=len(jax.devices())), PATH)
"""


def test_eight_devices_give_what_one_gives(smoke: Run, tmp_path: Path) -> None:
    """The same data and streams; sums in another order may differ in their last digits."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    path = tmp_path / "curve.nc"
    done = subprocess.run(
        [sys.executable, "-c", ON_DEVICES.replace("PATH", repr(str(path)))],
        cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    eight, one = read_dataset(path), smoke.dataset.sel(problem="monomial_1_1", n=10)
    assert eight["devices"] == 8
    exact = "exact_normalised_free_energy"
    np.testing.assert_array_equal(eight[exact], one[exact])
    for name in ("normalised_free_energy", "normalised_wbic", "normalised_bic"):
        np.testing.assert_allclose(eight[name], one[name], rtol=2e-5, atol=1e-5)


def test_unconverged_jobs_are_marked(strict: Run) -> None:
    sampled = strict.dataset.sel(problem="linear_3", n=list(SMOKE.sample_sizes))
    assert not sampled["converged"].any()
    for reason in sampled["reason"].to_numpy().flat:
        assert reason.startswith("acceptance 0.")
        assert reason.endswith("< 1.1")
    row = strict.verdict["numbers"]["problems"]["linear_3"]
    assert row["not_converged"] == row["jobs"] == 6
    assert "6 of 6 jobs did not converge" in strict.verdict["statement"]
    table = rows(strict.finished.out)
    for n in SMOKE.sample_sizes:
        assert table["linear_3", n].endswith("! 3 of 3")
    assert "!" not in table["linear_3", 1000]


def test_the_figure_shows_unconverged_jobs(smoke: Run, strict: Run) -> None:
    drawing = drawn(strict)
    assert "not converged" in labels(drawing)
    every = smoke.dataset["converged"][:, : len(SMOKE.sample_sizes)].all()
    assert ("not converged" in labels(drawn(smoke))) == (not every)
    lines = [line for line in drawing.axes[0].lines if line.get_label() == "not converged"]
    assert len(lines) == 1
    np.testing.assert_array_equal(lines[0].get_xdata(), SMOKE.sample_sizes)


# --- the verdict on other numbers --------------------------------------------------------------


def exact_run(smoke: Run) -> xr.Dataset:
    """A made-up run of 40 data sets and 8 seeds whose samples are the exact values and noise."""
    dataset = smoke.dataset.sel(problem=["linear_3"]).isel(replicate=np.arange(40) % 3)
    dataset.attrs |= {"degrees_of_freedom": 7, "compilations": {}}
    noise = np.random.default_rng(0).standard_t(7, (1, 3, 40))
    sampled = dataset["n"].isin(SMOKE.sample_sizes)
    for name in ("normalised_free_energy", "normalised_free_energy_ti", "normalised_wbic"):
        exact = dataset[f"exact_{name.removesuffix('_ti')}"]
        dataset[f"{name}_se"] = xr.full_like(exact, 0.1).where(sampled)
        dataset[name] = (exact + 0.1 * noise).where(sampled)
    return dataset


def outcomes(dataset: xr.Dataset) -> list[str]:
    return [finding.outcome.split(" if ")[0] for finding in verdict(dataset).findings]


def test_the_verdict_on_samples_that_cover(smoke: Run) -> None:
    assert outcomes(exact_run(smoke)) == ["holds", "holds only"]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda d: d.assign(evidence_integral=d["evidence_integral"] + 1), ["fails", "holds only"]),
        (lambda d: d.assign(evidence_integral=d["evidence_integral"] - 1), ["fails", "holds only"]),
        (
            lambda d: d.assign(normalised_free_energy=d["normalised_free_energy"] + 0.3),
            ["holds", "fails"],
        ),
        (
            lambda d: d.assign(normalised_free_energy_se=d["normalised_free_energy_se"] / 3),
            ["holds", "fails"],
        ),
    ],
)
def test_the_verdict_can_fail(
    spoil: Callable[[xr.Dataset], xr.Dataset], expected: list[str], smoke: Run
) -> None:
    assert outcomes(spoil(exact_run(smoke))) == expected


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--problems linear_3 nope", "problem 'nope': choose from "),
        ("--sample-sizes 2 10", "sample_sizes[0] = 2: must be an integer from 3 to 4294967296"),
        ("--exact-sizes 2", "exact_sizes[0] = 2: must be an integer from 3 to 4294967296"),
        ("--sample-sizes 10 10", "sample_sizes = (10, 10): must be a tuple that increases"),
        (
            "--sample-sizes",
            "sample_sizes = (): must be a tuple that increases with 1 or more entries",
        ),
        ("--sample-sizes 1e30", "sample_sizes = 1e30: must be numbers, each an integer from 3"),
        (f"--sample-sizes {10**30}", f"sample_sizes[0] = {10**30}: must be an integer from 3 to"),
        (
            f"--problems mixture_3 --data-sets 999 --sample-sizes {2**32}",
            f"n = {2**32}: 999 data sets of mixture_3 would take 63936.0 GiB",
        ),
        ("--step-size inf", "step_size = inf"),
        ("--ess-fraction nan", "ess_fraction = nan"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments: str, words: str, tmp_path: Path) -> None:
    finished = command(
        "free_energy", "--preset", "smoke", "--out", tmp_path / "out", *arguments.split()
    )
    assert_refused(finished, words)
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("smoke")
def test_a_diverging_step_size_is_refused(tmp_path: Path) -> None:
    finished = command(
        "free_energy", "--preset", "smoke", "--problems", "linear_3", "--step-size", "1e6",
        "--out", tmp_path,
    )  # fmt: skip
    assert_refused(finished, "step size 1e+06 diverges on linear_3 at n = 10:")
    assert os.listdir(tmp_path) == ["tasks"]
    assert not list((tmp_path / "tasks").glob("*.nc"))


def test_without_names_problems_are_those_for_show() -> None:
    problems = chosen(PRESETS["laptop"])
    assert len(problems) > 5
    assert all(problem.showcase for problem in problems)


def test_a_refusal_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.free_energy", "--problems", "nope", "--out",
         str(tmp_path / "results")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: problem 'nope': choose from ")
    assert len(done.stderr.splitlines()) == 1
