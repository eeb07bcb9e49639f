"""The ladder of nβ: its line, quadratic forms, a singular product, and chains that are lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.curves.local_ladder import LadderRule, climb, extrapolated
from slt_jax.samplers.target import Target

KEY = jax.random.key(0)


def of_loss(loss) -> Target:
    return Target(
        sample_prior=lambda key: jax.random.normal(key, (4,)),
        log_prior=lambda w: jnp.zeros(()),
        log_likelihood=lambda w, scale: -scale * loss(w),
    )


QUADRATIC = of_loss(lambda w: jnp.sum(jnp.array([1.0, 3.0, 10.0, 30.0]) * w**2) / 2)
SHORT = LadderRule(max_steps=20_000, max_batches=2)


def test_the_line_ends_at_the_limit() -> None:
    betas = 10 ** np.arange(1, 4, 0.5)
    values = 5 - 2 * betas ** (-1 / 3)
    end, error, beyond = extrapolated(betas, values, np.full(betas.shape, 0.1), 3)
    assert end == pytest.approx(5)
    assert beyond == pytest.approx(5 - values[-1])
    assert 0.1 < error < 1
    assert extrapolated(betas[:1], values[:1], np.array([0.1]), 3)[1] == np.inf


@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_a_quadratic_form_has_half_its_dimension() -> None:
    found = climb(QUADRATIC, 1.0, jnp.zeros(4), 1.0, KEY, num_chains=32, depth=1, rule=SHORT)
    assert not found.reason
    assert all(rung.settled for rung in found.rungs)
    assert abs(found.value - 2) < 6 * found.standard_error
    assert found.standard_error < 0.2
    assert found.beyond <= SHORT.max_beyond * found.value


def test_a_ladder_that_is_too_short_says_so() -> None:
    rule = SHORT._replace(max_steps=1500)
    found = climb(QUADRATIC, 1.0, jnp.zeros(4), 1.0, KEY, num_chains=8, depth=1, rule=rule)
    assert len(found.rungs) < 4
    assert found.reason.startswith(f"{len(found.rungs)} nβ, and 4 are needed")


def test_lost_chains_go_back_and_shorten_the_step() -> None:
    """A product of four factors is steepest where three are large, far from w* = 0."""
    product = of_loss(lambda w: jnp.prod(w) ** 2)
    rule = SHORT._replace(max_steps=5000, stability=4.0)
    found = climb(product, 1.0, jnp.zeros(4), 0.1, KEY, num_chains=32, depth=4, rule=rule)
    assert sum(rung.lost for rung in found.rungs) > 0
    assert np.isfinite(found.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 0.0}, "gamma = 0.0: must be"),
        ({"num_chains": 1}, "num_chains = 1: must be"),
        ({"depth": 0}, "depth = 0: must be"),
        ({"key": 0}, "key = 0: must be one key"),
        ({"rule": LadderRule(friction=0.0)}, "friction = 0.0: must be"),
    ],
)
def test_refusals(change, message) -> None:
    arguments = {"gamma": 1.0, "key": KEY, "num_chains": 2, "depth": 1} | change
    with pytest.raises(ValueError, match=message):
        climb(QUADRATIC, 1.0, jnp.zeros(4), **arguments)
