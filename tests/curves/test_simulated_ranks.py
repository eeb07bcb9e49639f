"""A sampler that is wrong is caught by ranks in a second, and one that is right is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.curves.jobs import in_precision
from slt_jax.curves.simulated_ranks import (
    QUANTITIES,
    simulated_cases,
    simulated_ranks,
    values_of,
)
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.run.compilation import CompilationCounter
from slt_jax.samplers.sgld import SGLDSettings
from slt_jax.samplers.smc import SMCSettings

FALSE_ALARM = 1e-8
PROBLEM = named_problems()["linear_3"]
TRUTHS, N, CHAINS = 300, 10, 6


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=len(QUANTITIES), probability=FALSE_ALARM)
def test_the_step_of_sgld_is_caught_and_a_small_one_is_not() -> None:
    """One program: steps, data and keys are its arguments."""
    settings = SGLDSettings(num_warmup=800, num_draws=1)
    key = jax.random.key(0)
    small = simulated_ranks(PROBLEM, settings, key, TRUTHS, N, CHAINS, step_size=1.0)
    with CompilationCounter() as counter:
        large = simulated_ranks(PROBLEM, settings, key, TRUTHS, N, CHAINS, step_size=30.0)
    assert counter.counts["chain_ends"] == 0
    assert tuple(small.uniformity) == QUANTITIES
    assert min(ranks.p_value for ranks in small.uniformity.values()) > FALSE_ALARM
    assert large.uniformity["energy"].p_value < FALSE_ALARM
    # Steps that are too long spread the chains: their energies are too large.
    assert large.uniformity["energy"].shift < -0.3


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=len(QUANTITIES), probability=FALSE_ALARM)
def test_as_many_chains_of_a_population_as_are_asked_for() -> None:
    settings = SMCSettings(num_chains=2 * CHAINS, chain_length=8, max_temperatures=20)
    found = simulated_ranks(PROBLEM, settings, jax.random.key(1), TRUTHS, N, CHAINS)
    assert found.divergent == 0
    assert min(ranks.p_value for ranks in found.uniformity.values()) > FALSE_ALARM


def test_each_truth_has_data_of_its_own() -> None:
    """The statistics are centred on the problem's optimum, not on the truth."""
    cases = simulated_cases(PROBLEM, N, CHAINS, jax.random.split(jax.random.key(2), 4))
    assert cases.truths.shape == (4, 3)
    assert cases.starts.shape == (4, CHAINS, 3)
    assert len(np.unique(cases.all_statistics.log_likelihood_at_optimum)) == 4
    np.testing.assert_array_equal(cases.all_statistics.optimum[0, :, 0], PROBLEM.optimum["w"])


def test_a_truth_in_doubles_is_drawn_from_in_single_precision_too() -> None:
    problem = named_problems()["tanh_2_teacher_1"]
    statistics = in_precision(
        statistics_along_n(problem, jax.random.key(0), 2, [10])[0], jnp.float32
    )
    values = jax.jit(lambda w: values_of(problem, statistics, w))(jnp.ones((2, 3, 4)))
    assert values.dtype == np.float32
