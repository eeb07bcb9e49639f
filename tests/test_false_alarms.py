"""The fast tests together keep the budget of false alarms, and each says what it adds to it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.false_alarms import BUDGET, comparisons_of, of_fast_tests, probability_beyond, total

TESTS = Path(__file__).parent
COMPARES = re.compile(
    r"standard errors?\b.*\d|\d standard error|false alarm|kstest|CERTAIN|p_?value >", re.IGNORECASE
)
marker = pytest.mark.false_alarm


class Marked(NamedTuple):
    """As much of a collected test as is asked for its markers."""

    marks: tuple[pytest.MarkDecorator, ...]
    nodeid: str = "tests/room/test_file.py::test_name"

    def iter_markers(self, name: str) -> Iterator[pytest.Mark]:
        return (each.mark for each in self.marks if each.name == name)

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return next(self.iter_markers(name), None)


def test_the_budget_is_kept(request: pytest.FixtureRequest) -> None:
    """All tests that were collected with this one, which each process collects."""
    probability = total(of_fast_tests(request.session.items))
    assert probability < BUDGET, "random comparisons of the fast tests: see tests/false_alarms.py"


def test_markers_add_up() -> None:
    """4 comparisons beyond 5.5 standard errors, 3.8e-8 each, and 2 of 1e-9; slow ones are none."""
    marks = (marker(comparisons=4, standard_errors=5.5), marker(comparisons=2, probability=1e-9))
    one, slow, gpu = (
        Marked((*marks, *more)) for more in ([], [pytest.mark.slow], [pytest.mark.gpu])
    )
    assert total(of_fast_tests([one])) == pytest.approx(4 * 3.798e-8 + 2e-9, rel=1e-3)
    assert total(of_fast_tests([one, slow, one, gpu])) == 2 * total(of_fast_tests([one]))
    assert {each.file for each in of_fast_tests([one])} == {"room/test_file.py"}


def test_a_bound_that_is_too_small_is_noticed() -> None:
    many = [Marked((marker(comparisons=10, standard_errors=5),)) for _ in range(20)]
    assert total(of_fast_tests(many[:17])) < BUDGET < total(of_fast_tests(many[:18]))
    assert probability_beyond(8.0, 15) > 100 * probability_beyond(8.0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"comparisons": 1},
        {"standard_errors": 5.0},
        {"comparisons": 0, "probability": 1e-7},
        {"comparisons": 1, "standard_errors": 5.0, "probability": 1e-7},
        {"comparisons": 1, "probability": 1e-7, "degrees_of_freedom": 7},
    ],
)
def test_incomplete_markers_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="test_file.py::test_name: a false_alarm marker names"):
        comparisons_of(Marked((marker(**arguments),)))


def test_every_file_that_compares_random_numbers_has_a_marker() -> None:
    unmarked = [
        str(file.relative_to(TESTS))
        for file in sorted(TESTS.rglob("test_*.py"))
        if file.parent.name != "statistical" and file != Path(__file__)
        if COMPARES.search(text := file.read_text("utf-8")) and "mark.false_alarm(" not in text
    ]
    assert not unmarked
