"""Underdamped dynamics against quadratic forms, whose discretised chain is known too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.estimators import mean_over_chains
from slt_jax.samplers.target import Target
from slt_jax.samplers.underdamped import (
    UnderdampedSettings,
    largest_precision,
    underdamped,
    underdamped_draws,
)

CURVATURES = np.array([100.0, 30.0, 1.0])
BETA, GAMMA = 2.0, 1.0
STEP = 0.1
KEY = jax.random.key(0)
TARGET = Target(
    sample_prior=lambda key: jax.random.normal(key, (3,)),
    log_prior=lambda w: jnp.zeros(()),
    log_likelihood=lambda w, curvatures: -jnp.sum(curvatures * w**2) / 2,
)
MEAN = BETA * CURVATURES / (BETA * CURVATURES + GAMMA) / 2


@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_the_correction_takes_the_bias_of_a_step_off() -> None:
    """The energy of a quadratic form is exact at a step whose own variance is far too large."""
    run = jax.jit(underdamped_draws, static_argnums=(0, 1))
    settings = UnderdampedSettings(num_warmup=400, num_draws=100, thinning=48)
    centre, start = jnp.zeros(3), jnp.zeros((64, 3))
    found = run(TARGET, settings, KEY, jnp.asarray(CURVATURES), BETA, GAMMA, centre, STEP, start)
    estimate = mean_over_chains(BETA * np.asarray(found.energies, float))
    assert float(estimate.standard_error) < 0.02
    assert abs(float(estimate.value) - MEAN.sum()) < 6 * float(estimate.standard_error)
    # Without it the variance is 1/(a(1 − ε²a/4)), which is twice as large in the first direction.
    inflated = MEAN / (1 - STEP**2 * (BETA * CURVATURES + GAMMA) / 4)
    share = 1 - MEAN.sum() / inflated.sum()
    assert float(1 - found.acceptance.mean()) == pytest.approx(share, rel=0.1)
    assert not found.num_divergent.any()


def test_the_largest_precision_is_an_eigenvalue() -> None:
    start = jax.random.normal(KEY, (2, 3))
    vectors = jax.random.normal(jax.random.key(1), (2, 3))
    for _ in range(2):
        found, vectors = largest_precision(
            TARGET, jnp.asarray(CURVATURES), BETA, GAMMA, jnp.zeros(3), start, vectors
        )
    np.testing.assert_allclose(found, BETA * 100 + GAMMA, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": -1.0}, "beta = -1.0: must be"),
        ({"gamma": -1.0}, "gamma = -1.0: must be"),
        ({"friction": -1.0}, "friction = -1.0: must be"),
        ({"step_size": 0.0}, "step_size = 0.0: must be"),
        ({"key": 0}, "key = 0: must be one key"),
    ],
)
def test_refusals(change: dict[str, float], message: str) -> None:
    arguments = {
        "key": KEY, "beta": BETA, "gamma": GAMMA, "centre": jnp.zeros(3), "step_size": STEP,
        "friction": 1.0, "num_refreshments": 1, "positions": jnp.zeros((2, 3)),
        "momenta": jnp.zeros((2, 3)),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        underdamped(TARGET, jnp.asarray(CURVATURES), **(arguments | change))
