"""BIC, WBIC and sBIC by hand, and sBIC as the solution of its equations."""

from fractions import Fraction

import numpy as np
import pytest

from slt_jax import theory
from slt_jax.estimators import bic, sbic, wbic


def test_by_hand() -> None:
    np.testing.assert_allclose(bic([-1.0, -2.0], 3, np.e**2), [2.0, 1.0])
    np.testing.assert_allclose(bic(np.array([[0.0], [1.0]]), 2, [1, np.e]), [[0, 1], [1, 2]])


@pytest.mark.parametrize(
    ("dimension", "n", "words"),
    [
        (0, 10, "dimension = 0"),
        (-2, 10, "dimension = -2"),
        (1, 0, "n = 0"),
        (1, [10, -5], "n = -5"),
        (1, np.nan, "n = nan"),
    ],
)
def test_refuses(dimension: int, n: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bic(0.0, dimension, n)


# --- WBIC -----------------------------------------------------------------------------------


@pytest.mark.false_alarm(comparisons=1, probability=1e-6)
def test_wbic_is_the_mean_energy_and_says_at_which_beta() -> None:
    energies = np.random.default_rng(0).normal(3.0, 1.0, (8, 50))
    estimate = wbic(energies, 100, reference="mle")
    assert estimate.value == pytest.approx(energies.mean())
    assert abs(estimate.value - 3) <= estimate.half_width(1 - 1e-6) < 0.6
    assert estimate.basis.beta == pytest.approx(1 / np.log(100))
    assert (estimate.basis.n, estimate.basis.reference) == (100, "mle")


@pytest.mark.parametrize("n", [2, 0, np.nan])
def test_wbic_refuses(n: float) -> None:
    with pytest.raises(ValueError, match=f"n = {n}"):
        wbic(np.zeros((2, 8)), n)


# --- sBIC -----------------------------------------------------------------------------------


def rank_theories(size: int, rank: int) -> dict:
    """Reduced-rank regression, size × size: λ and m of hidden dimension i at a truth of rank j."""
    nothing = theory.Theory(Fraction(0), 1, "exact", "no parameters")
    return {
        (i, j): theory.reduced_rank(size, size, i, j) if i else nothing
        for i in range(rank + 1)
        for j in range(i + 1)
    }


def residual(values: np.ndarray, energy: np.ndarray, theories: dict, n: float) -> np.ndarray:
    """Σ_j (x_i − L_ij) x_j over Σ_j (x_i + L_ij) x_j: the equations that define sBIC."""
    terms = []
    for i in range(energy.size):
        x = np.exp(-values)
        pairs = [
            (x[i], np.exp(-energy[i] - theories[i, j].free_energy_asymptote(n)), x[j])
            for j in range(i + 1)
            if (i, j) in theories
        ]
        signed = sum((own - term) * other for own, term, other in pairs)
        terms.append(signed / sum((own + term) * other for own, term, other in pairs))
    return np.array(terms)


def test_sbic_of_one_regular_model_is_bic() -> None:
    criteria = sbic([-1.5], {(0, 0): theory.regular(3)}, 50)
    np.testing.assert_allclose(criteria, bic([-1.5], 3, 50))


def test_sbic_solves_its_equations() -> None:
    theories = rank_theories(4, 3)
    energy = np.array([4.0, 1.0, -1.0, -1.5])
    criteria = sbic(energy, theories, 200)
    np.testing.assert_allclose(residual(criteria, energy, theories, 200), 0, atol=1e-13)
    lost = criteria + np.array([0, 0, 1e-3, 0])
    assert abs(residual(lost, energy, theories, 200)[2]) > 1e-5


def test_sbic_of_a_partial_order() -> None:
    """Two models that do not lie in each other stand alone; a third holds both."""
    one, three = theory.regular(1), theory.regular(3)
    theories = {(0, 0): one, (1, 1): three, (2, 0): one, (2, 1): three, (2, 2): theory.regular(4)}
    energy = np.array([0.5, 0.2, 0.0])
    criteria = sbic(energy, theories, 30)
    np.testing.assert_allclose(criteria[:2], [bic(0.5, 1, 30), bic(0.2, 3, 30)])
    np.testing.assert_allclose(residual(criteria, energy, theories, 30), 0, atol=1e-13)


def test_sbic_weighs_models_and_ignores_the_scale_of_weights() -> None:
    theories = rank_theories(3, 2)
    energy = np.array([2.0, 0.0, -0.2])
    plain = sbic(energy, theories, 100)
    np.testing.assert_allclose(sbic(energy, theories, 100, [5, 5, 5]), plain)
    certain = sbic(energy, theories, 100, [1e-30, 1e-30, 1.0])
    own = energy[2] + theories[2, 2].free_energy_asymptote(100)
    assert certain[2] == pytest.approx(own, abs=1e-6)
    assert plain[2] < own - 0.1


def test_sbic_far_below_the_smallest_number() -> None:
    """Thousands of nats: shifts move every value alike, and a hopeless submodel has no say."""
    theories = rank_theories(4, 2)
    energy = np.array([5000.0, 3000.0, 0.0])
    criteria = sbic(energy, theories, 1000)
    np.testing.assert_allclose(sbic(energy + 1e4, theories, 1000), criteria + 1e4)
    assert criteria[2] == pytest.approx(theories[2, 2].free_energy_asymptote(1000))
    best_small = sbic(np.array([0.0, 0.0, 0.0]), {**theories}, 10**30)
    assert np.isfinite(best_small).all()
    assert best_small[2] == pytest.approx(theories[2, 0].free_energy_asymptote(10**30), abs=1e-6)


@pytest.mark.parametrize(
    ("energy", "keys", "n", "prior", "words"),
    [
        ([0.0, np.nan], [(0, 0), (1, 1)], 10, None, "energies"),
        ([0.0, 0.0], [(0, 0)], 10, None, r"lack the pairs \[\(1, 1\)\]"),
        ([0.0, 0.0], [(0, 0), (1, 1), (0, 1)], 10, None, r"hold \[\(0, 1\)\]"),
        ([0.0], [(0, 0)], 1, None, "n = 1: must be a number > 1"),
        ([0.0], [(0, 0)], 10, [0.0], "prior"),
        ([0.0], [(0, 0)], 10, [1.0, 1.0], "prior"),
    ],
)
def test_sbic_refuses(energy, keys, n, prior, words) -> None:
    with pytest.raises(ValueError, match=words):
        sbic(energy, {key: theory.regular(2) for key in keys}, n, prior)
