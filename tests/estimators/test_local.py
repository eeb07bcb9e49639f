"""The local learning coefficient on draws whose answer is known, and the table of a scan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.estimators import local_learning_coefficient, local_scan
from slt_jax.samplers.sgld import SGLDSettings, sgld
from slt_jax.samplers.target import Target

N = 1000


def energies(gamma: float, dimension: int = 4, shape: tuple[int, int] = (50, 40)) -> np.ndarray:
    """nL_n = n|w|²/2 + 7 of exact draws from exp(−βnL_n − (γ/2)|w|²) at β = 1/log n."""
    w = np.random.default_rng(0).normal(size=(*shape, dimension))
    return 7 + N * np.sum(w**2, axis=-1) / (2 * (N / np.log(N) + gamma))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 1000.0])
@pytest.mark.false_alarm(comparisons=1, probability=1e-7)
def test_regular_minimum(gamma: float) -> None:
    """(d/2) nβ/(nβ + γ); the interval misses once in ten million."""
    estimate = local_learning_coefficient(energies(gamma), 7.0, N)
    exact = 2 * N / (N + gamma * np.log(N))
    assert estimate.standard_error < 0.03 * exact
    assert abs(estimate.value - exact) <= estimate.half_width(1 - 1e-7)
    assert (estimate.basis.reference, estimate.basis.n, estimate.basis.loss) == ("w*", N, "full")
    assert estimate.basis.beta == pytest.approx(1 / np.log(N))


def test_by_hand() -> None:
    """β(mean − 1) at β = ½."""
    estimate = local_learning_coefficient([[1.0, 2.0, 3.0, 2.0, 1.0, 3.0]], 1.0, 10, beta=0.5)
    assert estimate.value == pytest.approx(0.5)


def scan(**changes):
    gammas, steps = np.array([1.0, 10.0]), np.array([0.1, 0.2, 0.4])
    table = np.stack([np.stack([energies(gamma)] * 3) for gamma in gammas])
    table[1, 2] += 50.0
    accepted = np.full((2, 3, 50), 0.98)
    accepted[0, 1] = 0.5
    arguments = {
        "energies": table,
        "energy_at_centre": 7.0,
        "n": N,
        "gamma": gammas,
        "step_size": steps,
        "acceptance": accepted,
    }
    return local_scan(**arguments | changes)


def test_scan_marks_what_cannot_be_relied_on() -> None:
    scanned = scan()
    assert scanned["local_learning_coefficient"].dims == ("gamma", "step_size")
    expected = [[True, False, True], [True, True, False]]
    np.testing.assert_array_equal(scanned["reliable"], expected)
    alone = local_learning_coefficient(energies(10.0), 7.0, N)
    at = scanned.sel(gamma=10.0, step_size=0.1)
    assert at["local_learning_coefficient"] == pytest.approx(float(alone.value))
    assert at["local_learning_coefficient_se"] == pytest.approx(float(alone.standard_error))
    assert at["step_bias"] == at["discretisation"] == 0
    assert scanned["step_bias"].sel(gamma=10.0, step_size=0.4) > 3
    assert scanned.attrs["reference"] == "w*"


def test_a_smallest_step_that_is_too_long_is_marked_by_the_next() -> None:
    """λ̂ grows by as much as ε does: the smallest step is as far off as it is from the next."""
    table = np.stack([np.stack([energies(gamma)] * 3) for gamma in (1.0, 10.0)])
    table[1] += 30.0 * np.array([1.0, 2.0, 4.0])[:, None, None]
    scanned = scan(energies=table, acceptance=np.ones((2, 3, 50)))
    np.testing.assert_array_equal(scanned["reliable"], [[True] * 3, [False] * 3])
    np.testing.assert_allclose(scanned["discretisation"][1], 30 * np.array([1, 2, 4]) / np.log(N))
    alone = local_learning_coefficient(table[1, 0], 7.0, N).standard_error
    total = np.hypot(alone, 30 / np.log(N))
    np.testing.assert_allclose(scanned["local_learning_coefficient_se"][1, 0], total)
    # As the bias is linear in ε here, every pair of steps leads to the same value without it.
    unbiased = local_learning_coefficient(energies(10.0), 7.0, N).value
    np.testing.assert_allclose(scanned["extrapolated"][1], unbiased)
    # The first two of 2λ̂(ε) − λ̂(2ε), and all of the correction.
    expected = np.hypot(np.sqrt(5) * alone, 30 / np.log(N))
    np.testing.assert_allclose(scanned["extrapolated_se"][1, 0], expected)


def test_one_step_or_one_chain_is_not_reliable() -> None:
    """Nothing shows the bias of the one, nor the drift of the other."""
    one_step = scan(
        energies=np.stack([energies(gamma)[None] for gamma in (1.0, 10.0)]),
        step_size=[0.1],
        acceptance=np.ones((2, 1, 50)),
    )
    assert not one_step["reliable"].any()
    assert np.isnan(one_step["step_bias"]).all()
    assert np.isnan(one_step["extrapolated"]).all()
    assert np.isnan(one_step["extrapolated_se"]).all()
    assert one_step["settled"].all()
    assert np.isfinite(one_step["local_learning_coefficient_se"]).all()
    table = np.stack([np.stack([energies(gamma, shape=(1, 2000))] * 3) for gamma in (1.0, 10.0)])
    assert not scan(energies=table, acceptance=np.ones((2, 3, 1)))["reliable"].any()


def test_energies_that_never_change_are_reliable() -> None:
    """A likelihood that does not depend on w: no difference and no error is no bias."""
    scanned = scan(energies=np.full((2, 3, 50, 40), 7.0), acceptance=np.ones((2, 3, 50)))
    assert scanned["reliable"].all()
    assert not scanned["local_learning_coefficient"].any()


@pytest.mark.false_alarm(comparisons=12, standard_errors=5.5)
def test_chains_that_have_hardly_left_the_centre_are_marked() -> None:
    """K = (w_1 w_2)^2 by SGLD from w* = 0: every step of 1e-5 is accepted, and λ̂ is near 0.

    Whatever is called reliable is held to quadrature within 5.5 of its errors: 12 comparisons.
    """
    beta, chains = 1 / np.log(N), 32
    target = Target(
        sample_prior=lambda key: jax.random.normal(key, (2,)),
        log_prior=lambda w: -jnp.sum(w**2) / 2,
        log_likelihood=lambda w, n: -n * (w[0] * w[1]) ** 2,
    )
    gammas, steps = np.array([3.0, 10.0, 100.0]), np.array([1e-5, 1e-4, 1e-3, 4e-3])
    settings, starts = SGLDSettings(), jnp.zeros((chains, 2))

    def run(gamma, step_size, key):
        data = jnp.float32(N)
        return sgld(target, settings, key, data, beta, gamma, jnp.zeros(2), step_size, starts)

    keys = jax.random.split(jax.random.key(0), (gammas.size, steps.size))
    over_steps = jax.vmap(run, (None, 0, 0))
    runs = jax.jit(jax.vmap(over_steps, (0, None, 0)))(gammas, steps, keys)
    table = local_scan(runs.energies, 0.0, N, gammas, steps, runs.acceptance)
    assert (table["acceptance"].sel(step_size=1e-5) > 0.999).all()
    assert not table["reliable"].sel(step_size=1e-5).any()
    assert table["reliable"].sel(step_size=[1e-3, 4e-3]).sum() >= 4
    log_w = np.linspace(-14, 3, 800)
    square = np.exp(2 * log_w)
    k = N * beta * np.outer(square, square)
    for gamma in gammas:
        log_density = -k - gamma / 2 * np.add.outer(square, square) + np.add.outer(log_w, log_w)
        weights = np.exp(log_density - log_density.max())
        exact = np.sum(k * weights) / np.sum(weights)
        at = table.sel(gamma=gamma)
        miss = np.abs(at["local_learning_coefficient"] - exact)
        assert (miss <= 5.5 * at["local_learning_coefficient_se"])[at["reliable"]].all()
        assert (miss / at["local_learning_coefficient_se"]).sel(step_size=1e-5) > 5.5


def test_scan_marks_nan() -> None:
    lost = np.stack([np.stack([energies(gamma)] * 3) for gamma in (1.0, 10.0)])
    lost[0, 0, 3, 5] = np.nan
    scanned = scan(energies=lost, acceptance=np.ones((2, 3, 50)))
    # The next larger step is there to compare with where the smaller one was lost.
    np.testing.assert_array_equal(scanned["reliable"], [[False, True, True], [True, True, True]])


@pytest.mark.slow
def test_scan_of_langevin_runs() -> None:
    """nL_n = n|w|²/2 in 4 dimensions by SGLD at every pair: (d/2)/(1 − εa/4) · nβ/a, a = nβ + γ.

    The bias of the Euler step is known for a Gaussian, so that every pair is compared, and
    ``step_bias`` sees it where it is large, and the error with the bias in it covers the unbiased
    λ̂. 24 intervals that miss once in a million each.
    """
    beta = 1 / np.log(N)
    settings = SGLDSettings(num_warmup=300, num_draws=200, thinning=5)
    target = Target(
        sample_prior=lambda key: jax.random.normal(key, (4,)),
        log_prior=lambda w: -jnp.sum(w**2) / 2,
        log_likelihood=lambda w, n: -n * jnp.sum(w**2) / 2,
    )
    gammas, steps = np.array([1.0, 30.0, 300.0]), np.array([2e-4, 8e-4, 3.2e-3, 6.4e-3])
    centre, starts = jnp.zeros(4), jnp.zeros((64, 4))

    def run(gamma, step_size, key):
        data = jnp.float32(N)
        return sgld(target, settings, key, data, beta, gamma, centre, step_size, starts)

    keys = jax.random.split(jax.random.key(0), (gammas.size, steps.size))
    over_steps = jax.vmap(run, (None, 0, 0))
    runs = jax.jit(jax.vmap(over_steps, (0, None, 0)))(gammas, steps, keys)
    table = local_scan(runs.energies, 0.0, N, gammas, steps, runs.acceptance)
    precision = N * beta + gammas[:, None]
    exact = 2 * N * beta / precision / (1 - steps * precision / 4)
    total = table["local_learning_coefficient_se"].to_numpy()
    error = np.sqrt(total**2 - table["discretisation"].to_numpy() ** 2)
    assert error.max() < 0.1
    value = table["local_learning_coefficient"].to_numpy()
    assert np.all(np.abs(value - exact) <= 5.5 * error)
    unbiased = 2 * N * beta / precision
    assert np.all(np.abs(value - unbiased) <= 5.5 * total)
    assert np.any(np.abs(value - unbiased) > 5.5 * error)
    assert not table["reliable"].sel(step_size=6.4e-3).any()
    assert table["reliable"].sel(step_size=2e-4).all()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="n = 1"):
        local_learning_coefficient(np.zeros((2, 4)), 0.0, 1)
    with pytest.raises(ValueError, match="beta = 0"):
        local_learning_coefficient(np.zeros((2, 4)), 0.0, 10, beta=0.0)
    with pytest.raises(ValueError, match=r"allowed is \[1, 3"):
        scan(gamma=[1.0])
    with pytest.raises(ValueError, match=r"acceptance has shape \(2, 3\)"):
        scan(acceptance=np.ones((2, 3)))
    with pytest.raises(ValueError, match="must be > 0.4, the one before"):
        scan(step_size=[0.4, 0.2, 0.1])
