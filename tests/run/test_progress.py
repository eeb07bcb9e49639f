"""Progress goes to standard error: lines, or a bar on a terminal."""

import re
import sys

import pytest

from slt_jax.run.progress import Progress


def test_without_a_terminal_a_line_per_batch(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("work", total=5, already=2) as progress:
        for done, name in enumerate(["a", "b", "c"], start=3):
            progress.advance(name, 1.25)
            out, err = capsys.readouterr()
            assert out == ""
            assert re.fullmatch(rf"work: {done}/5 {name} in 1\.2 s\n", err)


def test_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From what was done here: what was on disk took no time."""
    clock = iter([0.0, 10.0, 30.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    progress = Progress("work", total=6, already=2)
    progress.advance("a", 10.0)
    progress.advance("b", 20.0)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(", about 30 s left")
    assert second.endswith(", about 30 s left")


def test_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("work", total=3, already=3):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_remark(capsys: pytest.CaptureFixture[str]) -> None:
    Progress("work", total=1).say("all is well")
    assert capsys.readouterr() == ("", "work: all is well\n")


@pytest.mark.parametrize("in_ci", [False, True])
def test_a_terminal_gets_a_bar_but_not_in_ci(
    in_ci: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("CI", raising=False)
    if in_ci:
        monkeypatch.setenv("CI", "true")
    with Progress("work", total=2) as progress:
        progress.advance("a", 0.1)
        progress.say("remark")
    out, err = capsys.readouterr()
    assert out == ""
    assert "work: remark\n" in err
    assert ("work: 1/2 a in" in err) == in_ci
    assert ("\r" in err) != in_ci
