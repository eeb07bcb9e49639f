"""The benchmarks run, report a peer that is missing, and agree with what is committed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__, accelerator, curve, peer_local, peer_smc, report, startup

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("cost_in_n", "gradient, ReLU net"),
        pytest.param("chains", "SGLD chain-steps", marks=pytest.mark.slow),
        pytest.param("peers", "blackjax SMC loop, tanh_3, end to end", marks=pytest.mark.slow),
    ],
)
def test_a_quick_run_writes_table_document_and_figure(
    name: str, row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    __main__.main(["--quick", "--only", name, "--out", str(tmp_path)])
    results = json.loads((tmp_path / "benchmarks" / "results.json").read_text("utf-8"))
    assert list(results["benchmarks"]) == [name]
    assert results["machine"]["quick"]
    assert (tmp_path / "docs" / "benchmarks.md").read_text("utf-8") == report.markdown(results)
    assert all((tmp_path / "figures" / f"benchmarks.{kind}").exists() for kind in ("png", "svg"))
    assert row in capsys.readouterr().out


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["--only", "nothing"])
    assert "nothing" in capsys.readouterr().err


def test_a_missing_peer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blackjax", None)
    methods = curve.peer("blackjax", None)
    assert set(methods) == {"blackjax", "blackjax, our likelihood"}
    own = {
        "compile_seconds": 1.0, "total_seconds": 2.0, "standard_error": [0.1], "error": [0.0],
        "measured": "in full",
    }  # fmt: skip
    found = {"sizes": [10], "data_sets": 2, "target": 0.1}
    rows = curve.rows(found | {"methods": {"slt_jax": own, "numpyro": own} | methods})
    measured = {row.benchmark: (row.measured, row.met) for row in rows}
    assert measured["curve, blackjax"] == ("missing", None)
    assert measured["curve, numpyro"][1] is False


def test_the_time_of_a_peer_is_scaled_to_our_standard_error() -> None:
    ours = {"cold_seconds": 4.0, "warm_seconds": 1.0, "standard_error": 0.1}
    peer = {"cold_seconds": 5.0, "warm_seconds": 1.0, "standard_error": 0.2}
    cold, warm = peer_smc.ratios({"problem": {"ours": ours, "peer": peer}})
    assert (cold, warm) == pytest.approx((4 / (5 + 3), 1 / 4))


def test_the_local_coefficient_at_a_strong_localisation_is_that_of_an_integral() -> None:
    x, y = np.linspace(-1, 1, 300), np.cos(3 * np.linspace(-1, 1, 300)) + np.linspace(0, 1, 300)
    w = np.linspace(-6, 6, 1001) / np.sqrt(peer_local.GAMMA)
    beta, slope = 1 / np.log(300), w[:, None] * w**2
    energy = beta * (slope**2 * (x @ x) / 2 - slope * (x @ y))
    weight = np.exp(-energy - peer_local.GAMMA / 2 * (w[:, None] ** 2 + w**2))
    mean = np.sum(weight * energy) / np.sum(weight)
    assert abs(mean) > 0.01
    assert peer_local._integral(x, y) == pytest.approx(mean, rel=1e-5)


def test_the_committed_document_is_that_of_the_committed_results() -> None:
    results = json.loads(RESULTS.read_text("utf-8"))
    assert set(results["benchmarks"]) == set(report.BENCHMARKS)
    assert not results["machine"]["quick"]
    committed = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    assert committed == report.markdown(results)


def test_a_processor_is_no_accelerator(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        accelerator.main([])
    assert "no accelerator" in capsys.readouterr().err


def test_the_committed_document_of_accelerators_is_that_of_its_results() -> None:
    results = json.loads((ROOT / "benchmarks" / f"{accelerator.NAME}.json").read_text("utf-8"))
    committed = (ROOT / "docs" / f"{accelerator.NAME}.md").read_text("utf-8")
    assert committed == accelerator.markdown(results)
    assert results["machine"]["device_platform"] == "gpu"


def test_a_start_is_held_to_its_aim() -> None:
    spent = {"seconds": 2.0, "ratio": 4.5}
    names = [start.name for start in startup.starts()]
    timings = {
        "sampler": 1, "all": 20, "demo_seconds": 91.0,
        "floors": dict.fromkeys(startup.FLOORS, spent),
        "starts": {name: {"cold": spent, "warm": spent} for name in names},
    }  # fmt: skip
    met = {row.benchmark: row.met for row in startup.rows(timings)}
    assert met["start: first sampled F_n, warm"]
    assert met["start: first sampled F_n, cold"]
    assert met["start: first use of a problem, warm"] is False
    assert met["start: JAX and blackjax"] is None
    assert met["demo"] is False
    assert startup._demo()[:2] == ("-m", "experiments.free_energy")
