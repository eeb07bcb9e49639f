"""The best of several runs beside all subsets one by one."""

import itertools

import numpy as np
import pytest

from slt_jax.estimators import best_of

RNG = np.random.default_rng(0)


def one_by_one(scores, size, values):
    means = []
    for subset in itertools.combinations(range(len(scores)), size):
        least = min(scores[i] for i in subset)
        means.append(np.mean([values[i] for i in subset if scores[i] == least]))
    return np.mean(means)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
def test_the_best_is_that_of_all_subsets(size):
    """Scores all of which differ, and scores of which many are equal."""
    scores, values = RNG.normal(size=(2, 5, 7))
    expected = [one_by_one(s, size, v) for s, v in zip(scores, values, strict=True)]
    np.testing.assert_allclose(best_of(scores, size, values), expected)
    tied = np.round(scores)
    expected = [one_by_one(s, size, s) for s in tied]
    np.testing.assert_allclose(best_of(tied, size), expected, atol=1e-12)


def test_one_run_is_the_mean_and_all_are_the_minimum():
    scores = RNG.normal(size=(3, 1000))
    np.testing.assert_allclose(best_of(scores, 1), scores.mean(axis=-1))
    np.testing.assert_allclose(best_of(scores, 1000), scores.min(axis=-1))


@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_the_least_of_uniform_scores():
    """E min of s uniform numbers is 1/(s + 1)."""
    means = best_of(RNG.uniform(size=(200, 100)), 10)
    assert abs(means.mean() - 1 / 11) < 6 * means.std(ddof=1) / np.sqrt(200)


def test_runs_without_a_score_come_last():
    assert best_of([np.nan, 1.0, 2.0], 2, [np.inf, 1.0, 2.0]) == pytest.approx(4 / 3)
    assert best_of([np.nan, 2.0], 1, [5.0, 2.0]) == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.ones(3), 0), "^size = 0: must be an integer ≥ 1"),
        ((np.ones(3), 4), "^size = 4: must be ≤ 3, the number of runs"),
        ((1.0, 1), r"^scores have shape \(\)"),
        ((np.ones(3), 1, np.ones(2)), r"^scores have shape \(3,\) and values \(2,\)"),
        ((["a"], 1), "^scores: array of type <U1; allowed: real numbers"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        best_of(*arguments)
