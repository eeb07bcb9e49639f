"""The learning coefficient from volumes, on priors whose volumes are known."""

import numpy as np
import pytest

from slt_jax.estimators import volume_coefficient

EPSILON = np.array([1e-1, 1e-2, 1e-3])
# Intervals that miss once in ten million.
CERTAIN = 1 - 1e-7


@pytest.mark.parametrize("coefficient", [0.25, 0.5, 1.0])
@pytest.mark.false_alarm(comparisons=2, probability=1 - CERTAIN)
def test_a_pure_power(coefficient: float) -> None:
    """V(ε) = ε^λ of K = U^{1/λ} with U uniform."""
    uniform = np.random.default_rng(0).uniform(size=200_000)
    estimate = volume_coefficient(uniform ** (1 / coefficient), EPSILON)
    assert estimate.value.shape == (2,)
    assert estimate.standard_error.max() < 0.05
    assert np.all(np.abs(estimate.value - coefficient) <= estimate.half_width(CERTAIN))


@pytest.mark.false_alarm(comparisons=4, probability=1 - CERTAIN)
def test_multiplicity_two() -> None:
    """K = uv, uniform: V(ε) = ε(1 + log 1/ε) exactly, whose local power the estimate follows."""
    u, v = np.random.default_rng(1).uniform(size=(2, 400_000))
    volume = EPSILON * (1 + np.log(1 / EPSILON))
    width = -np.diff(np.log(EPSILON))
    plain = -np.diff(np.log(volume)) / width
    estimate = volume_coefficient(u * v, EPSILON)
    assert np.all(np.abs(estimate.value - plain) <= estimate.half_width(CERTAIN))
    corrected = volume_coefficient(u * v, EPSILON, multiplicity=2)
    exact = plain + np.diff(np.log(np.log(1 / EPSILON))) / width
    assert np.all(np.abs(corrected.value - exact) <= corrected.half_width(CERTAIN))
    assert np.all(np.abs(exact - 1) < np.abs(plain - 1))


@pytest.mark.false_alarm(comparisons=3, standard_errors=5)
def test_errors_are_true_and_independent() -> None:
    """400 runs: the spread to 5 standard errors of it, no correlation beyond 5/√400."""
    losses = np.random.default_rng(2).uniform(size=(400, 5000))
    runs = [volume_coefficient(row, [0.5, 0.1, 0.02]) for row in losses]
    values = np.array([run.value for run in runs])
    claimed = np.sqrt(np.mean([run.standard_error**2 for run in runs], axis=0))
    np.testing.assert_allclose(values.std(axis=0) / claimed, 1, atol=5 / np.sqrt(800))
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.25


@pytest.mark.parametrize(
    ("losses", "epsilon", "multiplicity", "words"),
    [
        ([np.nan, 1.0], [0.5, 0.1], 1, "1 losses"),
        ([-0.1, 1.0], [0.5, 0.1], 1, "1 losses"),
        (np.ones(50), [0.1, 0.5], 1, "decrease"),
        (np.ones(50), [0.5], 1, "at least 2"),
        (np.ones(50), [0.5, 0.0], 1, "between 0 and"),
        (np.ones(50), [1.5, 0.5], 2, "between 0 and 1"),
        (np.linspace(0, 1, 50), [0.5, 0.1], 1, r"\[25, 5\] of 50 draws"),
    ],
)
def test_refusals(losses, epsilon, multiplicity, words) -> None:
    with pytest.raises(ValueError, match=words):
        volume_coefficient(losses, epsilon, multiplicity)
