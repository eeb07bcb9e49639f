"""Ranks of truths among exact draws of a Gaussian mean, and among draws that are wrong.

With 2000 truths a sampler that is right fails at p < 1e-7 as often as that; each wrong one is off
by so much that it always does.
"""

import numpy as np
import pytest

from slt_jax.estimators import rank_uniformity

FALSE_ALARM = 1e-7
TRUTHS, DRAWS, N = 2000, 8, 5


def gaussian(shift: float = 0.0, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """w ~ N(0, 1), five y ~ N(w, 1), and draws of the posterior moved and scaled."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=TRUTHS)
    mean = (truth + rng.normal(size=TRUTHS) / np.sqrt(N)) * N / (N + 1)
    noise = rng.normal(size=(TRUTHS, DRAWS)) / np.sqrt(N + 1)
    return mean[:, None] + shift / np.sqrt(N + 1) + scale * noise, truth


@pytest.mark.false_alarm(comparisons=1, probability=FALSE_ALARM)
@pytest.mark.false_alarm(comparisons=2, standard_errors=5.5)
def test_exact_draws_are_calibrated() -> None:
    uniformity = rank_uniformity(*gaussian())
    assert uniformity.p_value > FALSE_ALARM
    assert abs(uniformity.shift) < 5.5 / np.sqrt(TRUTHS)
    assert abs(uniformity.spread) < 5.5 / np.sqrt(TRUTHS)


def test_wrong_draws_are_not() -> None:
    """Draws too small have a positive shift, those too narrow a positive spread."""
    low, narrow, wide = (
        rank_uniformity(*gaussian(**wrong))
        for wrong in ({"shift": -0.3}, {"scale": 0.8}, {"scale": 1.3})
    )
    assert max(estimate.p_value for estimate in (low, narrow, wide)) < FALSE_ALARM
    assert low.shift > 0.2
    assert narrow.spread > 0.1 > -0.1 > wide.spread


@pytest.mark.false_alarm(comparisons=3, standard_errors=5.5)
def test_p_values_are_uniform() -> None:
    """400 sets of uniform ranks of 50 truths: 5.5 binomial standard errors at each decile."""
    rng = np.random.default_rng(2)
    values = [
        rank_uniformity(rng.normal(size=(50, 7)), rng.normal(size=50)).p_value for _ in range(400)
    ]
    for level in (0.1, 0.5, 0.9):
        error = np.sqrt(level * (1 - level) / 400)
        assert abs(np.mean(np.array(values) < level) - level) < 5.5 * error


def test_the_order_of_draws_and_a_monotone_function_do_not_matter() -> None:
    draws, truth = gaussian()
    assert rank_uniformity(draws[:, ::-1], truth) == rank_uniformity(draws, truth)
    assert rank_uniformity(np.exp(draws), np.exp(truth)) == rank_uniformity(draws, truth)


@pytest.mark.false_alarm(comparisons=1, probability=FALSE_ALARM)
def test_ties_are_no_evidence() -> None:
    """Half of the values are one and the same, as where a ReLU is off."""
    draws, truth = gaussian()
    uniformity = rank_uniformity(np.maximum(draws, 0), np.maximum(truth, 0))
    assert uniformity.p_value > FALSE_ALARM
    assert rank_uniformity(np.zeros((50, 4)), np.zeros(50)).p_value == pytest.approx(1)
    assert rank_uniformity(np.maximum(draws - 0.3, 0), np.maximum(truth, 0)).p_value < FALSE_ALARM


def test_lost_draws_are_never_calibrated() -> None:
    draws, truth = gaussian()
    uniformity = rank_uniformity(np.full_like(draws, np.nan), truth)
    assert uniformity.p_value == 0
    assert uniformity.shift < -1


@pytest.mark.parametrize(
    ("draws", "truth", "words"),
    [
        (np.zeros((3, 1)), np.zeros(3), "at least 2 draws"),
        (np.zeros((3, 4)), np.zeros(2), r"truths \(2,\)"),
        (np.zeros((3, 4)), np.array([0.0, np.nan, np.inf]), "2 truths are not finite"),
    ],
)
def test_refusals(draws: np.ndarray, truth: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rank_uniformity(draws, truth)
