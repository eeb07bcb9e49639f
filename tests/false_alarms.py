"""The probability that the fast tests raise a false alarm, summed over their markers.

Keys are fixed, so that a test that has passed passes: the budget is for the day on which random
numbers change, with JAX, NumPy or the order in which a sampler draws. A test that compares random
numbers says beside itself how many comparisons it makes, and to what each of them is held:

    @pytest.mark.false_alarm(comparisons=4, standard_errors=5.5)
    @pytest.mark.false_alarm(comparisons=2, standard_errors=9, degrees_of_freedom=15)
    @pytest.mark.false_alarm(comparisons=3, probability=1e-7)

The numbers are those of one collected test; each case of a parametrised test counts by itself.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import pytest
from scipy import stats

BUDGET = 1e-4


class Comparisons(NamedTuple):
    """Comparisons of one collected test, each with the same probability of a false alarm."""

    file: str
    held_to: str
    count: int
    probability: float


def probability_beyond(standard_errors: float, degrees_of_freedom: float = math.inf) -> float:
    """Both tails of the normal law, or of Student's t, beyond so many standard errors."""
    return float(2 * stats.t(degrees_of_freedom).sf(standard_errors))


def comparisons_of(item: pytest.Item) -> list[Comparisons]:
    """List what the markers of a test say.

    Raises ValueError for a marker that names neither or both of ``standard_errors`` and
    ``probability``, or no comparison.
    """
    return [_comparisons(item.nodeid, **mark.kwargs) for mark in item.iter_markers("false_alarm")]


def _comparisons(
    test: str,
    comparisons: int = 0,
    standard_errors: float | None = None,
    degrees_of_freedom: float | None = None,
    probability: float | None = None,
) -> Comparisons:
    neither_or_both = (standard_errors is None) == (probability is None)
    freedom_of_nothing = standard_errors is None and degrees_of_freedom is not None
    if comparisons < 1 or neither_or_both or freedom_of_nothing:
        raise ValueError(
            f"{test}: a false_alarm marker names comparisons ≥ 1, and either standard_errors, "
            "perhaps with degrees_of_freedom, or probability"
        )
    file = test.split("::")[0].removeprefix("tests/")
    if probability is not None:
        return Comparisons(file, f"p = {probability:.2g}", comparisons, probability)
    label = f"{standard_errors:g} s.e."
    if degrees_of_freedom is not None:
        label += f" (t, {degrees_of_freedom:g})"
    beyond = probability_beyond(standard_errors, degrees_of_freedom or math.inf)
    return Comparisons(file, label, comparisons, beyond)


def of_fast_tests(items: Iterable[pytest.Item]) -> list[Comparisons]:
    """List the comparisons of those tests that are neither slow nor for an accelerator."""
    return [
        comparisons
        for item in items
        if not (item.get_closest_marker("slow") or item.get_closest_marker("gpu"))
        for comparisons in comparisons_of(item)
    ]


def total(comparisons: Iterable[Comparisons]) -> float:
    """The sum of all probabilities, which bounds that of any false alarm."""
    return sum(each.count * each.probability for each in comparisons)
