"""The scripts of the README run: as they stand in the slow tests, and with small numbers here."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
IDS = ["posterior", "network", "curve"]
# The same calls with settings of seconds.
SMALL = [
    {
        "slt.SMCSettings()": "slt.SMCSettings(num_chains=8, chain_length=4)",
        "slt.NUTSSettings(target_acceptance=0.95)": "slt.SMCSettings(num_chains=8, chain_length=4)",
        "num_chains=32": "num_chains=4",
    },
    {"2001": "201", "500": "100", "key=key)": "key=key, num_warmup=9, num_draws=9, thinning=2)"},
    {
        "relu, 1, 2": "relu, 0, 1",
        "(10, 30, 100, 300), data_sets=4": "(10, 30), data_sets=2, seeds=2, num_chains=4, "
        "held_out=50, sampler=slt.SMCSettings(num_chains=8, chain_length=4)",
    },
]


def printed(script: str, capsys: pytest.CaptureFixture[str]) -> str:
    exec(script, {})
    return capsys.readouterr().out


def test_scripts_are_short_and_need_the_front_door_alone() -> None:
    assert len(SCRIPTS) == len(IDS)
    for script in SCRIPTS:
        assert sum(bool(line.strip()) for line in script.splitlines()) <= 12
        assert not re.search(r"from slt_jax|import slt_jax\.", script)


@pytest.mark.parametrize(
    ("script", "small"),
    [
        pytest.param(*of_one, id=name, marks=[pytest.mark.slow] if name == "curve" else [])
        for name, of_one in zip(IDS, zip(SCRIPTS, SMALL, strict=True), strict=True)
    ],
)
def test_a_script_runs(
    script: str,
    small: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for old, new in small.items():
        assert script.count(old) == 1, old
        script = script.replace(old, new)
    out = printed(script, capsys)
    assert out.count("F_n = ") == 2 * script.count("F_n")
    rows = re.findall(r"^\d .*\d\.\d", out, re.MULTILINE)
    assert len(rows) == (3 if "nnx.clone" in script else 0)
    assert list(tmp_path.iterdir()) == [tmp_path / "relu.png"] * script.count("savefig")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=IDS)
def test_a_script_says_that_its_numbers_can_be_believed(
    script: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All but the network before its training, which is no minimum."""
    monkeypatch.chdir(tmp_path)
    lines = printed(script, capsys).splitlines()
    wrong = [line for line in lines if "not converged" in line or re.search(r"± \S+ \S", line)]
    assert [line[:28] for line in wrong] == ["checkpoint 0 not converged: "] * ("nnx" in script)
