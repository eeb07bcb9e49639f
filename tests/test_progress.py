"""Progress goes to standard error, and the work comes through unchanged."""

import re
import sys

import pytest

from slt_jax.progress import report


def test_without_a_terminal_a_line_per_chunk(capsys: pytest.CaptureFixture[str]) -> None:
    done = []
    for chunk in report(["a", "b", "c"], "work"):
        done.append(chunk)
        assert len(capsys.readouterr().err.splitlines()) == (len(done) > 1)
    assert done == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"work: 3/3 in \d+\.\d s\n", err)


def test_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(report([], "work")) == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("in_ci", [False, True])
def test_a_terminal_gets_a_bar_but_not_in_ci(
    in_ci: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("CI", raising=False)
    if in_ci:
        monkeypatch.setenv("CI", "true")
    assert list(report([1, 2], "work")) == [1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert ("work: 2/2 in" in err) == in_ci
    assert ("\r" in err) != in_ci


def test_an_error_in_the_work_is_not_swallowed() -> None:
    def work() -> None:
        for chunk in report([1, 0], "work"):
            1 // chunk

    with pytest.raises(ZeroDivisionError):
        work()
