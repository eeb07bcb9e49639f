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
def test_regular_minimum(gamma: float) -> None:
    """(d/2) nβ/(nβ + γ); the interval misses once in a million."""
    found = local_learning_coefficient(energies(gamma), 7.0, N)
    exact = 2 * N / (N + gamma * np.log(N))
    assert found.standard_error < 0.03 * exact
    assert abs(found.value - exact) <= found.half_width(1 - 1e-6)
    assert (found.basis.reference, found.basis.n, found.basis.loss) == ("w*", N, "full")
    assert found.basis.beta == pytest.approx(1 / np.log(N))


def test_by_hand() -> None:
    """β(mean − 1) at β = ½."""
    found = local_learning_coefficient([[1.0, 2.0, 3.0, 2.0, 1.0, 3.0]], 1.0, 10, beta=0.5)
    assert found.value == pytest.approx(0.5)


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
    found = scan()
    assert found["local_learning_coefficient"].dims == ("gamma", "step_size")
    expected = [[True, False, True], [True, True, False]]
    np.testing.assert_array_equal(found["reliable"], expected)
    alone = local_learning_coefficient(energies(10.0), 7.0, N)
    at = found.sel(gamma=10.0, step_size=0.1)
    assert at["local_learning_coefficient"] == pytest.approx(float(alone.value))
    assert at["local_learning_coefficient_se"] == pytest.approx(float(alone.standard_error))
    assert np.isnan(at["step_bias"])
    assert found["step_bias"].sel(gamma=10.0, step_size=0.4) > 3
    assert found.attrs["reference"] == "w*"


def test_scan_marks_nan() -> None:
    lost = np.stack([np.stack([energies(gamma)] * 3) for gamma in (1.0, 10.0)])
    lost[0, 0, 3, 5] = np.nan
    found = scan(energies=lost, acceptance=np.ones((2, 3, 50)))
    np.testing.assert_array_equal(found["reliable"], [[False, False, True], [True, True, True]])


@pytest.mark.slow
def test_scan_of_langevin_runs() -> None:
    """nL_n = n|w|²/2 in 4 dimensions by SGLD at every pair: (d/2)/(1 − εa/4) · nβ/a, a = nβ + γ.

    The bias of the Euler step is known for a Gaussian, so that every pair is compared, and
    ``step_bias`` sees it where it is large. 12 intervals that miss once in a million each.
    """
    beta = 1 / np.log(N)
    settings = SGLDSettings(num_burn_in=300, num_draws=200, thinning=5)
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
    found = local_scan(runs.energies, 0.0, N, gammas, steps, runs.acceptance)
    precision = N * beta + gammas[:, None]
    exact = 2 * N * beta / precision / (1 - steps * precision / 4)
    error = found["local_learning_coefficient_se"].to_numpy()
    assert error.max() < 0.1
    deviation = np.abs(found["local_learning_coefficient"].to_numpy() - exact)
    assert np.all(deviation <= 5.5 * error)
    assert not found["reliable"].sel(step_size=6.4e-3).any()
    assert found["reliable"].sel(step_size=2e-4).all()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="n = 1"):
        local_learning_coefficient(np.zeros((2, 4)), 0.0, 1)
    with pytest.raises(ValueError, match="beta = 0"):
        local_learning_coefficient(np.zeros((2, 4)), 0.0, 10, beta=0.0)
    with pytest.raises(ValueError, match=r"allowed is \[1, 3"):
        scan(gamma=[1.0])
    with pytest.raises(ValueError, match=r"acceptance has shape \(2, 3\)"):
        scan(acceptance=np.ones((2, 3)))
    with pytest.raises(ValueError, match="must increase"):
        scan(step_size=[0.4, 0.2, 0.1])
