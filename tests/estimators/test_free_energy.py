"""Free energies of paths and of evidence estimates, against exact ones."""

import jax
import numpy as np
import pytest

from slt_jax.data import statistics_along_n
from slt_jax.estimators import free_energy_from_evidence, integrate_path, thermodynamic_integration
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for

# --- evidence -------------------------------------------------------------------------------


def test_evidence_by_hand() -> None:
    """Z = 1, 2, 3 has the mean 2; log Z = ±1 has the variance 2, so √log(1 + (e² − 1)/2)."""
    estimate = free_energy_from_evidence(np.log([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]))
    np.testing.assert_allclose(estimate.value, [-np.log(2), -np.log(4)])
    assert estimate.standard_error[1] == 0
    pair = free_energy_from_evidence([-1.0, 1.0])
    assert pair.standard_error == pytest.approx(np.sqrt(np.log1p((np.exp(2) - 1) / 2)), abs=1e-12)
    assert estimate.degrees_of_freedom == 2


@pytest.mark.parametrize("shift", [-1e5, 1e5])
def test_evidence_of_any_size(shift: float) -> None:
    """Z itself would be 0 or infinite; 1e5 nats keep 11 decimals."""
    estimate = free_energy_from_evidence(shift + np.log([1.0, 2.0, 3.0]))
    assert estimate.value + shift == pytest.approx(-np.log(2), abs=1e-9)
    expected = free_energy_from_evidence(np.log([1.0, 2.0, 3.0])).standard_error
    assert estimate.standard_error == pytest.approx(expected, abs=1e-9)


@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_evidence_is_unbiased() -> None:
    """The mean of exp(−F) over log-normal Z of mean 1 is 1; that of −log Z alone would not be.

    5 standard errors of 40 000 independent means: a false alarm has probability 6e-7.
    """
    spread = 0.5
    normal = np.random.default_rng(0).normal(size=(40_000, 8))
    log_evidence = spread * normal - spread**2 / 2
    evidence = np.exp(-free_energy_from_evidence(log_evidence).value)
    assert abs(evidence.mean() - 1) <= 5 * evidence.std() / np.sqrt(len(evidence))
    assert abs(np.exp(log_evidence.mean(axis=1)).mean() - 1) > 0.05


@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_evidence_error_is_true() -> None:
    """The claimed errors are the spread of the estimates, to the 2 % of the delta method."""
    normal = np.random.default_rng(1).normal(size=(40_000, 8))
    estimate = free_energy_from_evidence(0.1 * normal)
    claimed = np.sqrt(np.mean(estimate.standard_error**2))
    assert claimed == pytest.approx(np.std(estimate.value), rel=0.025)


@pytest.mark.parametrize("variance", [0.3, 1.0, 1.5])
@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_evidence_intervals_hold_where_log_evidence_spreads(variance: float) -> None:
    """Log-normal Z of mean 1 in 8 runs: 95 % intervals hold 92 % or more, the delta method's 85 %.

    Five binomial standard errors of 20 000 intervals are 1 %.
    """
    normal = np.random.default_rng(2).normal(size=(20_000, 8))
    log_evidence = np.sqrt(variance) * normal - variance / 2
    estimate = free_energy_from_evidence(log_evidence)
    held = np.mean(np.abs(estimate.value) <= estimate.half_width())
    assert 0.91 < held < 0.96
    z = np.exp(log_evidence)
    delta = estimate._replace(standard_error=z.std(axis=-1, ddof=1) / z.mean(axis=-1) / np.sqrt(8))
    assert np.mean(np.abs(delta.value) <= delta.half_width()) < held - 0.01


def test_evidence_of_a_lost_run() -> None:
    estimate = free_energy_from_evidence([[0.0, np.nan], [0.0, 0.0]])
    np.testing.assert_array_equal(np.isnan(estimate.value), [True, False])
    np.testing.assert_array_equal(np.isnan(estimate.standard_error), [True, False])


def test_evidence_of_one_run_is_refused() -> None:
    with pytest.raises(ValueError, match="1 seed"):
        free_energy_from_evidence([0.0])


# --- paths ----------------------------------------------------------------------------------


def exact_path(panels: int, first: float = 1e-3, n: int = 100) -> tuple[np.ndarray, ...]:
    """(β, E_β, Var_β, −F(β₁)) of a conjugate regression with w ~ N(0, I₃), and F(1) at the end.

    F(β) = ½ log|I + βG| − ½ hᵀ(I + βG)⁻¹h + β(½ cᵀGc + cᵀU) with h = β(Gc + U) and c = w₀.
    """
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=(n, 3)), np.array([0.5, 0.0, -0.5])
    gram, cross = x.T @ x, x.T @ rng.normal(size=n)
    beta = np.geomspace(first, 1, panels + 1)
    energy, variance, free_energy = [], [], []
    for b in beta:
        precision = np.eye(3) + b * gram
        covariance, h = np.linalg.inv(precision), b * (gram @ c + cross)
        delta = covariance @ h - c
        product, slope = gram @ covariance, gram @ delta - cross
        energy.append(np.trace(product) / 2 + delta @ gram @ delta / 2 - delta @ cross)
        variance.append(np.trace(product @ product) / 2 + slope @ covariance @ slope)
        constant = b * (c @ gram @ c / 2 + c @ cross)
        free_energy.append(np.linalg.slogdet(precision)[1] / 2 - h @ covariance @ h / 2 + constant)
    return beta, np.array(energy), np.array(variance), -free_energy[0], free_energy[-1]


def test_path_is_integrated_to_fourth_order() -> None:
    """Half the panel width, a sixteenth of the error; without the correction it is a quarter."""
    errors = []
    for panels in (16, 32, 64):
        *path, exact = exact_path(panels)
        errors.append(abs(integrate_path(*path) - exact))
    ratios = np.array(errors[:-1]) / errors[1:]
    np.testing.assert_allclose(ratios, 16, rtol=0.1)
    assert errors[-1] < 1e-5


def test_a_constant_of_the_loss_is_integrated_exactly() -> None:
    """Another reference point adds a constant c to all energies, and c to F: no more, no less."""
    beta, energy, variance, first, _ = exact_path(8)
    for constant in (-45_000.0, 10.0):
        shifted = integrate_path(beta, energy + constant, variance, first - constant * beta[0])
        plain = integrate_path(beta, energy, variance, first)
        assert shifted - plain == pytest.approx(constant, abs=1e-9 * abs(constant))


def test_path_of_a_sampler_is_long_enough() -> None:
    """Adaptive paths change β by a factor of about 2.5: then the integral is good to 0.02 nats."""
    *path, exact = exact_path(8)
    assert integrate_path(*path) == pytest.approx(exact, abs=0.02)


def test_path_of_exact_moments_of_the_oracle() -> None:
    """The same from the oracle's E_β and Var_β, on 32 panels of every one of 4 data sets."""
    problem = named_problems()["linear_3"]
    statistics = statistics_along_n(problem, jax.random.key(5), 4, [100])[0]
    oracle = oracle_for(problem)
    assert oracle is not None
    beta = np.geomspace(1e-3, 1, 33)
    moments = [oracle.moments(statistics, float(b)) for b in beta]
    energy = np.stack([m.excess_energy.value for m in moments], axis=-1)
    variance = np.stack([m.energy_variance.value for m in moments], axis=-1)
    free_energy = [moments[i].normalised_free_energy.value for i in (0, -1)]
    path = np.broadcast_to(beta, energy.shape)
    integral = integrate_path(path, energy, variance, -free_energy[0])
    np.testing.assert_allclose(integral, free_energy[1], atol=2e-4)
    over_seeds = thermodynamic_integration(path, energy, variance, -free_energy[0])
    assert over_seeds.value == pytest.approx(free_energy[1].mean(), abs=2e-4)
    spread = free_energy[1].std(ddof=1) / 2
    assert over_seeds.sources.between_chains == pytest.approx(spread, rel=1e-3)
    assert over_seeds.sources.discretisation < 2e-4
    assert over_seeds.degrees_of_freedom >= 3


@pytest.mark.parametrize("panels", [8, 16, 32])
def test_the_error_of_the_rule_is_seen_where_seeds_agree(panels: int) -> None:
    """Two equal runs differ from the exact value by what ``discretisation`` says, within a half.

    An odd number of panels keeps its first one whole, and padding changes nothing.
    """
    *path, exact = exact_path(panels)
    runs = [np.stack(2 * [padded(part)]) for part in path[:3]]
    estimate = thermodynamic_integration(*runs, np.full(2, path[3]))
    assert estimate.sources.between_chains == 0
    assert estimate.standard_error == pytest.approx(abs(estimate.value - exact), rel=0.5)
    *odd, _ = exact_path(panels + 1)
    of_odd = thermodynamic_integration(*[np.stack(2 * [part]) for part in odd[:3]], 2 * [odd[3]])
    assert 0.2 < of_odd.standard_error / estimate.standard_error < 2


def padded(values: np.ndarray, length: int = 40) -> np.ndarray:
    return np.concatenate([values, np.full(length - len(values), np.nan)])


def test_padding_changes_nothing() -> None:
    beta, energy, variance, first, _ = exact_path(16)
    plain = integrate_path(beta, energy, variance, first)
    assert integrate_path(padded(beta), padded(energy), padded(variance), first) == plain
    # Paths of unlike length in one array.
    short = exact_path(5)
    pairs = zip(short[:3], exact_path(16)[:3], strict=True)
    both = [np.stack([padded(a), padded(b)]) for a, b in pairs]
    integral = integrate_path(*both, np.array([short[3], first]))
    assert integral[0] == integrate_path(*short[:4])
    assert integral[1] == plain


def test_a_path_of_one_temperature_is_its_first_weight() -> None:
    nan = [np.nan, np.nan]
    assert integrate_path([1.0, *nan], [2.0, *nan], [1.0, *nan], -0.7) == 0.7


@pytest.mark.parametrize("which", ["beta", "mean_energy", "energy_variance", "first_log_weight"])
def test_nan_inside_a_path_is_not_skipped(which: str) -> None:
    names = ("beta", "mean_energy", "energy_variance", "first_log_weight")
    for place in (0, 7, 16) if which != "first_log_weight" else (0,):
        path = dict(zip(names, exact_path(16)[:4], strict=True))
        values = np.array(path[which], float, ndmin=1)
        values[place] = np.nan
        path[which] = values if which != "first_log_weight" else values[0]
        assert np.isnan(integrate_path(**path)), place


def test_a_path_that_stops_early_has_no_integral() -> None:
    beta, energy, variance, first, _ = exact_path(16)
    assert np.isnan(integrate_path(0.9 * beta, energy, variance, first))
    assert np.isnan(integrate_path(beta[:-1], energy[:-1], variance[:-1], first))
    nothing = np.full(17, np.nan)
    assert np.isnan(integrate_path(nothing, nothing, nothing, first))


def test_the_path_of_a_lost_run_is_nan_and_no_warning() -> None:
    """SMC of data that hold NaN stays at β = 0 with NaN energies."""
    lost = padded(np.array([0.0])), padded(np.array([np.nan])), padded(np.array([np.nan]))
    assert np.isnan(integrate_path(*lost, np.nan))


def test_the_path_of_a_run_that_stays_at_zero_is_nan_and_no_warning() -> None:
    """Infinite energies at β = 0 likewise."""
    lost = padded(np.array([0.0])), padded(np.array([np.inf])), padded(np.array([np.nan]))
    assert np.isnan(integrate_path(*lost, -np.inf))
