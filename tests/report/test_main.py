"""The generic command line: errors become one line, and defects are not disguised."""

import pytest

from slt_jax.report import main as command_line
from slt_jax.run.stopping import Terminated
from tests.experiments.commands import command


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("two\n  lines"), 2, "error: two lines"),
        (OSError(28, "No space left"), 2, "error: [Errno 28] No space left"),
        (KeyboardInterrupt(), 130, "interrupted; no result was written, tasks on disk are kept"),
        (Terminated(), 143, "interrupted; no result was written, tasks on disk are kept"),
    ],
)
def test_errors_become_one_line(
    error: BaseException, status: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(command_line, "run", fail)
    assert command("free_energy") == (status, "", line + "\n")


def test_a_defect_is_not_disguised_as_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(command_line, "run", fail)
    with pytest.raises(ZeroDivisionError):
        command("free_energy")
