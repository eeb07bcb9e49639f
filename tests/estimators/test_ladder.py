"""Free energies from a ladder of temperatures against a conjugate model, drawn exactly."""

import numpy as np
import pytest

from slt_jax.estimators import integrate_path, ladder_integration, multistate_bennett

GRAM = np.array([100.0, 30.0, 3.0])
CROSS = np.array([10.0, -3.0, 2.0])
CERTAIN = 1 - 1e-7


def draws(beta: np.ndarray, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """u = ½wᵀGw − wᵀh for w ~ N(0, I) tempered by exp(−βu), G diagonal: [temperature, *shape]."""
    variance = 1 / (1 + beta[:, None] * GRAM)
    mean = variance * beta[:, None] * CROSS
    noise = np.random.default_rng(seed).normal(size=(beta.size, *shape, GRAM.size))
    w = mean[:, None, None] + np.sqrt(variance)[:, None, None] * noise
    return np.sum(w**2 * GRAM / 2 - w * CROSS, axis=-1)


def free_energy(beta: np.ndarray) -> np.ndarray:
    scaled = beta[:, None] * GRAM
    return np.sum(np.log1p(scaled) - (beta[:, None] * CROSS) ** 2 / (1 + scaled), axis=1) / 2


def moments(beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E_β and Var_β of u."""
    variance = 1 / (1 + beta[:, None] * GRAM)
    mean = variance * beta[:, None] * CROSS
    energy = np.sum(GRAM * (mean**2 + variance) / 2 - CROSS * mean, axis=1)
    slope = GRAM * mean - CROSS
    return energy, np.sum((GRAM * variance) ** 2 / 2 + slope**2 * variance, axis=1)


def ladder(rungs: int) -> np.ndarray:
    return np.append(0.0, np.geomspace(1e-3, 1.0, rungs - 1))


# --- multistate Bennett ratios --------------------------------------------------------------


@pytest.mark.false_alarm(comparisons=9, probability=1 - CERTAIN)
def test_bennett_is_exact_within_its_error() -> None:
    beta = ladder(10)
    estimate = multistate_bennett(draws(beta, (40, 50)), beta).free_energy
    assert estimate.standard_error.max() < 0.05
    deviation = np.abs(estimate.value - free_energy(beta[1:]))
    assert np.all(deviation <= estimate.half_width(CERTAIN))


@pytest.mark.false_alarm(comparisons=9, standard_errors=5)
def test_bennett_errors_are_true() -> None:
    """Over 100 ladders: 5 standard errors of a standard deviation, and 10 % for the linearisation.

    The errors within chains of independent draws are also those of the covariance, and the
    covariance between rungs is that of the estimates.
    """
    beta = np.array([0.0, 0.01, 0.1, 1.0])
    runs = [multistate_bennett(draws(beta, (4, 100), seed), beta) for seed in range(100)]
    values = np.array([run.free_energy.value for run in runs])
    claimed = np.mean([run.covariance for run in runs], axis=0)
    ratios = values.std(axis=0, ddof=1) / np.sqrt(np.diag(claimed))
    np.testing.assert_allclose(ratios, 1, atol=5 / np.sqrt(200) + 0.1)
    for run in runs[:3]:
        np.testing.assert_allclose(
            np.diag(run.covariance), run.free_energy.sources.within_chains**2
        )
        assert np.linalg.eigvalsh(run.covariance).min() > 0
    scale = np.sqrt(np.diag(claimed))
    np.testing.assert_allclose(
        np.corrcoef(values.T), claimed / np.outer(scale, scale), atol=5 / np.sqrt(100)
    )
    mean_error = values.std(axis=0, ddof=1) / 10
    # The bias of one ladder is of the order of its variance.
    bias = np.abs(values.mean(axis=0) - free_energy(beta[1:]))
    assert np.all(bias <= 5 * mean_error + np.diag(claimed))


@pytest.mark.false_alarm(comparisons=1, probability=1 - CERTAIN)
def test_bennett_beats_the_reweighting_of_the_prior() -> None:
    """The log mean of e^{−βu} over N draws of the prior has variance (e^{2F(β) − F(2β)} − 1)/N.

    It is one of the estimators among which Bennett's has the least variance.
    """
    beta = np.array([0.0, 1.0])
    estimate = multistate_bennett(draws(beta, (40, 50)), beta).free_energy
    once, twice = free_energy(np.array([1.0, 2.0]))
    alone = np.sqrt(np.expm1(2 * once - twice) / 2000)
    assert abs(estimate.value - once) <= estimate.half_width(CERTAIN)
    assert estimate.sources.within_chains < alone


def test_the_solution_is_self_consistent_and_shifts_with_the_energy() -> None:
    """exp(−F_k) = Σ_s exp(−β_k u_s)/Σ_j N exp(F_j − β_j u_s); u + c adds (β_k − β_0)c."""
    beta = np.array([0.2, 0.4, 1.0])
    energies = draws(beta, (4, 25))
    f = np.append(0.0, multistate_bennett(energies, beta).free_energy.value)
    u = energies.ravel()
    mixture = np.sum(100 * np.exp(f[:, None] - beta[:, None] * u), axis=0)
    sums = np.log(np.sum(np.exp(-beta[:, None] * u) / mixture, axis=1))
    np.testing.assert_allclose(-(sums - sums[0]), f, atol=1e-8)
    moved = multistate_bennett(energies + 1e4, beta).free_energy.value
    np.testing.assert_allclose(moved, f[1:] + (beta[1:] - beta[0]) * 1e4, rtol=1e-10)


def test_disagreeing_chains_widen_the_error() -> None:
    beta = ladder(6)
    energies = draws(beta, (8, 100))
    apart = energies + np.linspace(0, 5, 8)[:, None]
    parts = multistate_bennett(apart, beta).free_energy.sources
    assert np.all(parts.between_chains[-1] > 5 * parts.within_chains[-1])


def test_energies_that_never_change() -> None:
    """F(β) = βu without an error, by both routes."""
    beta = ladder(8)
    energies = np.full((len(beta), 3, 20), 0.7)
    ratios, integral = multistate_bennett(energies, beta), ladder_integration(energies, beta)
    np.testing.assert_allclose(ratios.free_energy.value, 0.7 * beta[1:], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ratios.free_energy.standard_error, 0, atol=1e-12)
    np.testing.assert_allclose(ratios.covariance, 0, atol=1e-12)
    assert integral.sources.within_chains < 1e-12
    assert integral.standard_error < 0.02
    np.testing.assert_allclose(integral.value, 0.7, rtol=1e-12)


def test_rungs_without_overlap_are_refused() -> None:
    beta = np.array([0.0, 1.0])
    energies = np.stack([1e6 + np.arange(20.0), np.arange(20.0)]).reshape(2, 2, 10)
    with pytest.raises(ValueError, match="do not overlap"):
        multistate_bennett(energies, beta)


# --- integration ----------------------------------------------------------------------------


@pytest.mark.false_alarm(comparisons=1, probability=1 - CERTAIN)
def test_integration_is_exact_within_its_error() -> None:
    beta = ladder(18)
    estimate = ladder_integration(draws(beta, (40, 50)), beta)
    assert estimate.standard_error < 0.05
    assert abs(estimate.value - free_energy(np.ones(1))) <= estimate.half_width(CERTAIN)


def test_discretisation_error_is_that_of_fourth_order() -> None:
    """With exact moments |I − I′|/15 is the error, to a tenth once panels are narrow."""
    for panels, tolerance in ((16, 0.1), (32, 0.02)):
        beta = np.geomspace(1e-3, 1, panels + 1)
        energy, variance = moments(beta)
        first = -free_energy(beta[:1])[0]
        value = integrate_path(beta, energy, variance, first)
        coarse = integrate_path(beta[::2], energy[::2], variance[::2], first)
        error = value - free_energy(np.ones(1))[0]
        assert error == pytest.approx((coarse - value) / 15, rel=tolerance)


def test_a_coarse_ladder_says_so() -> None:
    """On 4 rungs the rule errs by more than the draws do, and both are within the error."""
    beta = np.array([0.0, 0.001, 0.03, 1.0])
    estimate = ladder_integration(draws(beta, (100, 200)), beta)
    assert estimate.sources.discretisation > 2 * estimate.sources.within_chains
    assert abs(estimate.value - free_energy(np.ones(1))) <= 3 * estimate.standard_error


@pytest.mark.parametrize("rungs", [4, 10])
@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_integration_errors_are_true(rungs: int) -> None:
    """Over 100 ladders of draws: 5 standard errors of a standard deviation and 5 % beside it.

    On 4 rungs panels are so wide that the variances in the rule make most of the error.
    """
    beta = ladder(rungs)
    runs = [ladder_integration(draws(beta, (4, 100), seed), beta) for seed in range(100)]
    spread = np.std([run.value for run in runs], ddof=1)
    claimed = np.sqrt(np.mean([run.sources.within_chains**2 for run in runs]))
    assert spread / claimed == pytest.approx(1, abs=5 / np.sqrt(200) + 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("rungs", [6, 12])
def test_intervals_of_both_cover(rungs: int) -> None:
    """2000 ladders: 95 % less 5 binomial standard errors and 1 % for the linearisation."""
    beta = ladder(rungs)
    exact = free_energy(np.ones(1))[0]
    covered = np.zeros(2)
    for seed in range(2000):
        energies = draws(beta, (8, 50), seed)
        bennett = multistate_bennett(energies, beta).free_energy
        estimate = ladder_integration(energies, beta)
        covered += [
            abs(bennett.value[-1] - exact) <= bennett.half_width()[-1],
            abs(estimate.value - exact) <= estimate.half_width(),
        ]
    assert np.all(covered / 2000 >= 0.94 - 5 * np.sqrt(0.95 * 0.05 / 2000))


@pytest.mark.parametrize(
    ("energies", "beta", "words"),
    [
        (np.zeros((2, 4)), [0, 1], r"shape \(2, 4\)"),
        (np.zeros((2, 2, 4)), [0, 0.5, 1], r"betas \(3,\)"),
        (np.zeros((2, 2, 4)), [1, 0], "must be > 1"),
        (np.zeros((2, 2, 4)), [-1, 0], "≥ 0"),
        (np.full((2, 2, 4), np.nan), [0, 1], "16 energies"),
    ],
)
def test_refusals(energies: np.ndarray, beta: list[float], words: str) -> None:
    for estimator in (multistate_bennett, ladder_integration):
        with pytest.raises(ValueError, match=words):
            estimator(energies, beta)


@pytest.mark.parametrize("beta", [[0, 1], [0, 0.2, 1], [0.1, 0.2, 0.5, 1], [0, 0.2, 0.5, 0.9]])
def test_integration_refuses_ladders(beta: list[float]) -> None:
    with pytest.raises(ValueError, match=f"{len(beta)} betas from {beta[0]:g} to {beta[-1]:g}"):
        ladder_integration(np.zeros((len(beta), 2, 4)), beta)
