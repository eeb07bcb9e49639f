"""Learning exponents: the studies in small, verdicts that can fail, and the command line."""

import contextlib
import dataclasses
import functools
import io
import json
import os
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from experiments import learning_exponents
from experiments.learning_exponents import study as exponents
from experiments.learning_exponents import verdict as exponents_report
from experiments.learning_exponents.figure import exponents_figure
from slt_jax.oracles.location import ContactCurve, ParabolaCurve
from slt_jax.report import main as cli
from slt_jax.run.sweep import Batch

SMOKE = learning_exponents.PRESETS["smoke"]
FILES = [f"learning_exponents.{kind}" for kind in ("json", "nc", "pdf", "png", "svg")]
# Without designed curves of nets, which compile: ``results`` makes their growth up.
SMALL = learning_exponents.plan_of(
    dataclasses.replace(
        SMOKE, parabolas=(0.5,), widths=(1e2, 1e6), net_sizes=(10, 100, 1000, 10000, 100000),
        spectrum_sizes=tuple(round(10 ** (k / 2)) for k in range(15)),
    )
)  # fmt: skip
CURVES = exponents.curves_of(SMALL)


@functools.cache
def computed() -> dict[str, xr.Dataset]:
    groups = exponents.exponent_batches(SMALL)
    made = {b.name: b.compute() for key, group in groups.items() if key not in SMALL.nets
            for b in group}  # fmt: skip
    n = np.array(SMALL.net_sizes, float)
    growth = 0.5 * np.log(n)[:, None] * np.array([1.0, 1.01])
    made["tanh_1.1"] = xr.Dataset(
        {name: (("far_n", "design"), growth) for name in ("growth", "growth_error")},
        coords={"far_n": n},
    )
    return made


def results() -> xr.Dataset:
    return exponents.assemble_exponents(SMALL, computed()).copy(deep=True)


def test_curves_and_knobs() -> None:
    assert {"parabola 0.5": ParabolaCurve(0.5), "contact 1 1": ContactCurve(1, 1)} == CURVES
    knobs = exponents.knobs_of(SMALL)
    assert knobs[0].spectrum.exponent == pytest.approx(1 / 3)
    assert len({knob.spectrum for knob in knobs}) == len(knobs)


def test_measured_curves_are_of_the_exact_one() -> None:
    """6 standard errors of all repeats together, 8 comparisons."""
    data = results()
    for name in CURVES:
        at = data.sel(curve=name)
        exact = at["gibbs"].sel(n=at["measured_n"].to_numpy()).to_numpy()
        values = at["measured"].to_numpy()
        error = np.sqrt(np.mean(at["measured_se"].to_numpy() ** 2, axis=1) / values.shape[1])
        assert np.all(np.abs(values.mean(axis=1) - exact) < 6 * error)


def test_the_verdict_has_all_parts() -> None:
    verdict = exponents_report.judge(CURVES, results())
    assert verdict["claims"] == ["N7", "N8", "N9"]
    family = verdict["N7"]["families"]["contact 1 1"]
    assert family["holds"]
    assert family["late"]["exponent"][0] == pytest.approx(1.0, abs=0.01)
    assert family["wrong_loss"]["-0.5"] < family["ideal"]["exponent"][0]
    assert family["wrong_loss"]["+0.5"] > family["ideal"]["exponent"][0]
    assert family["entropy_for_loss"] < 0.1
    critical = verdict["N7"]["families"]["parabola 0.5"]
    assert critical["last_bayes_over_gibbs"] < 0
    assert "only where renormalisable" in verdict["N7"]["verdict"] or not critical["holds"]
    nets = verdict["N9"]["nets"]["tanh_1, s = 1"]
    assert nets["exponent_late"] == pytest.approx(1.0)
    assert nets["amplitude"] == pytest.approx(0.5025)
    json.dumps(verdict, allow_nan=False)


def test_the_verdict_on_the_form_can_fail() -> None:
    data = results()
    n = data["n"].to_numpy()
    data["gibbs"][1] = data["gibbs"][1] * n**0.2
    row = exponents_report.judge_curve(CURVES["contact 1 1"], data, "contact 1 1")
    assert not row["holds"]


def test_crossings_of_pure_powers_follow_the_formula() -> None:
    data = results()
    n = data["n"].to_numpy().astype(float)
    for index, curve in enumerate(CURVES.values()):
        data["gibbs"][index] = curve.amplitude * n**-curve.exponent
    found = exponents_report.judge_crossings(CURVES, data)
    assert found["formula_decades"]["largest"] < 0.01
    assert found["sufficient"] == len(found["crossings"])
    assert exponents_report.state_crossings(found)["verdict"].startswith("holds")
    row = found["crossings"][0]
    assert row["linear"] > row["formula"]
    data["gibbs"][1] = data["gibbs"][1] * 3
    worse = exponents_report.judge_crossings(CURVES, data)
    assert worse["formula_decades"]["median"] > 0.5
    assert exponents_report.state_crossings(worse)["verdict"] == "fails"


def test_knobs_and_widths() -> None:
    data = results()
    knobs = exponents_report.judge_knobs(data)
    assert knobs["noise × 3"]["moves"] == "c"
    assert knobs["alpha × 2"]["moves"] == "σ"
    widths = exponents_report.judge_widths(data)
    assert widths["1e+02"]["half_from"] < 1e5
    assert widths["1e+02"]["last_local"] == pytest.approx(1.0, abs=0.01)
    assert exponents_report.state_knobs(exponents_report.judge(CURVES, data)["N9"])


def test_the_figure() -> None:
    titles = [axis.get_title() for axis in exponents_figure(CURVES, results()).axes]
    assert [title[:3] for title in titles] == [f"({letter})" for letter in "abcdefghi"]


# --- the command line ----------------------------------------------------------------------------


def command(*arguments: object) -> tuple[int, str, str]:
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["learning_exponents", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            learning_exponents.main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
    return status, out.getvalue(), err.getvalue()


def test_results_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the computation and its figure, which ``test_the_smoke_preset`` makes and saves."""
    data = results()
    made = {"made": [Batch("made", lambda: xr.Dataset())]}
    monkeypatch.setattr(learning_exponents, "exponent_batches", lambda *_: made)
    monkeypatch.setattr(learning_exponents, "assemble_exponents", lambda *_: data)
    monkeypatch.setattr(learning_exponents, "curves_of", lambda *_: CURVES)
    monkeypatch.setattr(learning_exponents, "check", lambda *_: None)
    monkeypatch.setattr(learning_exponents, "exponents_figure", lambda *_: Figure())
    folder, figures = tmp_path / "results", tmp_path / "figures"
    status, out, err = command("--preset", "smoke", "--out", folder, "--figures-dir", figures)
    assert status == 0, err
    assert set(os.listdir(folder)) - {"batches"} == set(FILES)
    assert set(os.listdir(figures)) == set(FILES) - {"learning_exponents.nc"}
    verdict = json.loads((folder / "learning_exponents.json").read_text("utf-8"))
    assert set(verdict) == {"claims", "N7", "N8", "N9", "statement", "provenance"}
    assert verdict["statement"] in out


@pytest.mark.slow
def test_the_smoke_preset(tmp_path: Path) -> None:
    """Its n end where the last three decades of a parabola still bend, but not its last step."""
    status, out, err = command("--preset", "smoke", "--out", tmp_path / "results")
    assert status == 0, err
    verdict = json.loads((tmp_path / "results" / "learning_exponents.json").read_text("utf-8"))
    assert verdict["statement"] in out
    families = verdict["N7"]["families"]
    assert families["contact 1 1"]["holds"]
    assert not families["parabola 0.25"]["holds"]
    assert families["parabola 0.25"]["last_local_exponent"] == pytest.approx(1.0, abs=0.01)
    assert verdict["N9"]["nets"]["tanh_1, s = 1"]["amplitude"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--preset nope", "preset 'nope'"),
        ("--sizes 10 100", "sizes = (10, 100): at least 8"),
        ("--measured-sizes 10 20 100 1000", "measured_sizes [20]: must be among the sizes"),
        ("--net-sizes 1 10 100 1000", "net_sizes = (1, 10, 100, 1000): must increase"),
        ("--parabolas 5", "c = 5.0: must be finite and < 4.5"),
        ("--contacts 3 2", "j = 3, k = 2: must be 1 ≤ j ≤ k"),
        ("--contacts 1 1 1 1", "each only once"),
        ("--data-sets 9", "data_sets = 9: must be ≥ 10"),
        ("--repeats 1", "repeats = 1: must be ≥ 2"),
        ("--alpha 0", "alpha = 0.0: must be positive"),
        ("--prior-scales 0", "prior_scales = (0.0,): must be positive"),
        ("--nets nope", "net 'nope': choose from"),
        ("--nets tanh_2_even_truth", "tanh_2_even_truth: needs a realisable"),
        ("--oracle-level 4", "oracle_refinement = 4: must be 1 to 3"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments: str, words: str, tmp_path: Path) -> None:
    preset = () if "--preset" in arguments else ("--preset", "smoke")
    with mock.patch.object(cli, "run_batches", None):
        status, out, err = command(*preset, "--out", tmp_path / "r", *arguments.split())
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err
    assert not (tmp_path / "r").exists()
