"""Two samples of functions: known distances, uniform p-values where laws are equal, and power."""

import math

import numpy as np
import pytest
from scipy import stats

from slt_jax.estimators import classifier_two_sample, energy_distance

TESTS = {
    "energy": energy_distance,
    "neighbours": classifier_two_sample,
    "linear": lambda x, y, **options: classifier_two_sample(x, y, classifier="linear", **options),
}
PAIRS = 150


def samples(seed, m=20, n=30, points=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, points)), rng.normal(size=(n, points))


def mean_distance(shift):
    """E|X − Y| of normal draws with means ``shift`` apart, in closed form."""
    scale = math.sqrt(2)
    z = shift / scale
    return scale * (math.sqrt(2 / math.pi) * math.exp(-(z**2) / 2) + z * math.erf(z / scale))


def by_definition(x, y):
    def distance(a, b):
        return np.sqrt(np.mean((a - b) ** 2))

    def mean(first, second, same):
        pairs = [
            distance(a, b)
            for i, a in enumerate(first)
            for j, b in enumerate(second)
            if not (same and i == j)
        ]
        return np.mean(pairs)

    return 2 * mean(x, y, False) - mean(x, x, True) - mean(y, y, True)


def test_the_energy_distance_is_its_definition():
    x, y = samples(0, 6, 9)
    assert energy_distance(x, y + 1).value == pytest.approx(by_definition(x, y + 1))
    assert energy_distance(3 * x, 3 * y).value == pytest.approx(3 * by_definition(x, y))


@pytest.mark.false_alarm(comparisons=2, standard_errors=6)
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_energy_distance_is_unbiased(shift):
    """Its mean is the closed form, and its spread the standard error, where the laws differ."""
    pairs = [samples(i, 40, 60, 1) for i in range(PAIRS)]
    found = [energy_distance(x, y + shift, permutations=19) for x, y in pairs]
    values = np.array([test.value for test in found])
    expected = 2 * (mean_distance(shift) - mean_distance(0.0))
    assert abs(values.mean() - expected) < 6 * values.std() / math.sqrt(PAIRS)
    claimed = math.sqrt(np.mean([test.standard_error**2 for test in found]))
    if shift:
        assert abs(claimed / values.std() - 1) < 6 / math.sqrt(2 * PAIRS)
    else:
        null = math.sqrt(np.mean([test.null_standard_deviation**2 for test in found]))
        assert abs(null / values.std() - 1) < 6 / math.sqrt(PAIRS)


@pytest.mark.false_alarm(comparisons=2, probability=1e-7)
@pytest.mark.parametrize("name", TESTS)
def test_p_values_are_uniform_where_laws_are_equal(name):
    """Draws that are often equal too, whose order must not show."""
    p_values = []
    for i in range(PAIRS):
        x, y = samples(i)
        if i % 2:
            x, y = np.sign(x), np.sign(y)
        p_values.append(TESTS[name](x, y, permutations=39, seed=i).p_value)
    # p-values of few distinct statistics are larger than uniform ones, and never smaller.
    assert stats.kstest(p_values, "uniform", alternative="greater").pvalue > 1e-7
    assert np.mean(p_values) > 0.36


@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
@pytest.mark.parametrize("name", TESTS)
def test_what_differs_is_detected(name):
    """A shift of the mean, and for all a change of the spread."""
    x, y = samples(1, 80, 120)
    for other in (y + 1, 3 * y):
        test = TESTS[name](x, other)
        assert test.p_value == 0.001
        assert test.value > test.null_mean + 5 * test.null_standard_deviation
    same = TESTS[name](x, y)
    assert abs(same.value - same.null_mean) < 6 * same.null_standard_deviation


def test_accuracies_are_those_of_samples_that_weigh_alike():
    """Samples that lie apart are told without error, and equal draws not at all."""
    x, y = samples(2, 10, 90)
    for name in ("neighbours", "linear"):
        test = TESTS[name](x / 10, y / 10 + 5)
        assert test.value == 1.0
        assert 0 < test.standard_error < 0.1
    nothing = TESTS["linear"](np.zeros((10, 2)), np.zeros((12, 2)))
    assert (nothing.value, nothing.p_value) == (0.5, 1.0)


def test_repeated_calls_agree():
    x, y = samples(3)
    for test in TESTS.values():
        assert test(x, y, seed=4) == test(x, y, seed=4)


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize(
    ("x", "y", "options", "words"),
    [
        (np.ones(3), np.ones((3, 1)), {}, r"^x has shape \(3,\); allowed is \[draw, point\]"),
        (np.ones((3, 1)), np.ones((1, 1)), {}, r"^y has shape \(1, 1\); allowed is \[draw"),
        (np.ones((3, 1)), np.ones((3, 2)), {}, "^x has 1 points and y has 2; they must be"),
        (np.full((3, 1), np.nan), np.ones((3, 1)), {}, r"^x\[0, 0\] is nan; draws must be finite"),
        (np.full((3, 1), "a"), np.ones((3, 1)), {}, "^x: array of type <U1; allowed: real"),
        (np.ones((3, 1)), np.ones((3, 1)), {"permutations": 9}, "^permutations = 9: must be"),
        (np.ones((3, 1)), np.ones((3, 1)), {"seed": -1}, "^seed = -1: must be an integer ≥ 0"),
    ],
)
def test_wrong_samples_are_refused(name, x, y, options, words):
    with pytest.raises(ValueError, match=words):
        TESTS[name](x, y, **options)


def test_wrong_classifiers_are_refused():
    x, y = samples(4)
    for options, words in (
        ({"classifier": "forest"}, "^classifier = 'forest': must be one of neighbours, linear"),
        ({"neighbours": 0}, "^neighbours = 0: must be an integer ≥ 1"),
        ({"neighbours": 50}, "^neighbours = 50: must be < 50, the number of draws"),
    ):
        with pytest.raises(ValueError, match=words):
            classifier_two_sample(x, y, **options)
