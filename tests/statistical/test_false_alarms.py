"""The table of all random comparisons of the fast tests, made from their markers."""

import collections

import pytest

from tests.false_alarms import BUDGET, Comparisons, of_fast_tests, total
from tests.statistical.conftest import ROOT

pytestmark = pytest.mark.slow

COLUMNS = ("test file", "comparisons", "held to", "false alarms")
TEXT = f"""## False alarms of the fast tests

Every comparison of the fast tests with a random number, as the tests themselves declare it, at the
probability with which it would fail by chance if the keys were others: of so many standard errors
by the normal law, or Student's t with the degrees of freedom in brackets, or by the p-value that is
asked for. The sum bounds the probability that any fails; it must be below {BUDGET:g}.
"""


class FastTests:
    """A plugin that keeps the tests which a session of pytest collects."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = session.items


def comparisons() -> list[Comparisons]:
    """The comparisons of the fast tests, which a session inside this one collects and leaves."""
    collected = FastTests()
    status = pytest.main(
        ["--collect-only", "-qq", "--numprocesses=0", str(ROOT / "tests")], plugins=[collected]
    )
    assert status == pytest.ExitCode.OK
    return of_fast_tests(collected.items)


def test_the_budget_is_kept(record):
    declared = comparisons()
    counts: collections.Counter[tuple[str, str, float]] = collections.Counter()
    for each in declared:
        counts[each.file, each.held_to, each.probability] += each.count
    rows = [
        [file, str(count), held_to, f"{count * probability:.1e}"]
        for (file, held_to, probability), count in sorted(counts.items())
    ]
    rows.append(["all", str(sum(counts.values())), "—", f"{total(declared):.1e}"])
    record("false_alarms", TEXT, COLUMNS, ["count"], "count", rows)
    assert total(declared) < BUDGET
