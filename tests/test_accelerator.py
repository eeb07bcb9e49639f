"""What must hold on an accelerator as on the processor; skipped where there is none."""

import chex
import jax
import numpy as np
import pytest

from slt_jax.curves.config import FreeEnergyConfig
from slt_jax.curves.free_energy import free_energy_curve
from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import simulate, statistics_of
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.run.devices import device_budget

pytestmark = pytest.mark.gpu

PROBLEMS = named_problems()
CONFIG = FreeEnergyConfig(
    sample_sizes=(100, 1000), exact_sizes=(), data_sets=16, seeds=8, oracle_refinement=1, seed=3
)


def on_cpu():
    return jax.default_device(jax.local_devices(backend="cpu")[0])


@pytest.mark.parametrize("name", ["tanh_3", "reduced_rank_2_2_1_0", "mixture_2_fixed"])
def test_the_same_seeds_give_the_same_data(name):
    """Random bits are equal; transcendental functions may differ in their last digits."""
    here = simulate(PROBLEMS[name], jax.random.key(5), 1000)
    with on_cpu():
        there = simulate(PROBLEMS[name], jax.random.key(5), 1000)
    chex.assert_trees_all_close(here, there, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["tanh_2", "skalse_x2", "reduced_rank_2_2_2_1"])
def test_oracles_agree_with_those_of_the_processor(name):
    """Both within their own bounds of each other."""
    oracle = oracle_for(PROBLEMS[name], 1)
    with on_cpu():
        data = simulate(PROBLEMS[name], jax.random.key(7), 100)
    here = oracle.moments(statistics_of(PROBLEMS[name], data)).normalised_free_energy
    with on_cpu():
        there = oracle.moments(statistics_of(PROBLEMS[name], data)).normalised_free_energy
    assert abs(here.value - there.value) <= here.error + there.error + 1e-9
    assert np.isfinite(here.value)


@pytest.mark.parametrize("name", ["monomial_1_1", "tanh_3", "reduced_rank_2_2_2_1"])
@pytest.mark.false_alarm(comparisons=6, standard_errors=5)
def test_sampled_free_energy_covers_the_exact_one(name):
    """Mean over 16 data sets of each n; 5 standard errors of a mean over 128 runs."""
    curve = free_energy_curve(PROBLEMS[name], CONFIG)
    assert curve["converged"].all()
    for quantity in ("normalised_free_energy", "normalised_wbic", "excess_energy"):
        errors = curve[f"{quantity}_se"].to_numpy()
        assert np.median(errors) < 0.3
        gap = (curve[quantity] - curve[f"exact_{quantity}"]).mean("replicate").to_numpy()
        allowed = 5 * np.sqrt(np.mean(errors**2, axis=1) / CONFIG.data_sets)
        assert np.all(np.abs(gap) < allowed), (quantity, gap, allowed)


@pytest.mark.parametrize("name", ["reduced_rank_4_3_2_1", "deep_linear_2_2_2_2_rank_1"])
def test_matrix_products_keep_their_digits(name):
    """Accelerators multiply in fewer bits unless asked not to, which would lose nats."""
    problem = PROBLEMS[name]
    with on_cpu():
        data = statistics_of(problem, simulate(problem, jax.random.key(2), 1000))
    target = target_of(problem.model)
    w = target.sample_prior(jax.random.key(4))
    here = target.log_likelihood(w, in_precision(data, np.float32))
    with on_cpu():
        there = target.log_likelihood(jax.device_get(w), in_precision(data, np.float32))
    assert float(here) == pytest.approx(float(there), rel=3e-6)


def test_the_budget_is_half_of_the_device():
    device = jax.local_devices()[0]
    assert device_budget(device) == device.memory_stats()["bytes_limit"] // 2
