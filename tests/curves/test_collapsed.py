"""Targets without their Gaussian block, against integrals over it and against an oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.curves.collapsed import collapsed_free_energies, collapsed_target
from slt_jax.curves.jobs import batch_keys
from slt_jax.data import statistics_along_n
from slt_jax.models.relu_net import BiasedReluNet
from slt_jax.models.tanh_net import TanhNet
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.samplers.smc import SMCSettings


def tanh(width, **options):
    on = np.arange(width) < 1
    model = TanhNet(hidden_dim=width, num_nodes=8, **options)
    return Problem(f"tanh_{width}", model, {"a": 1.0 * on, "b": 1.5 * on})


def relu(width):
    on = 1.0 * (np.arange(width) < 1)
    model = BiasedReluNet(hidden_dim=width, noise=0.5, uniform_input=True)
    return Problem(f"relu_{width}", model, {"a": on, "b": on, "c": -0.2 * on})


def one_data_set(problem, n=20):
    (statistics,) = statistics_along_n(problem, jax.random.key(0), 1, (n,))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), statistics)


def integral_over_block(problem, statistics, others):
    """log ∫ N(a; 0, 1) exp(Σ(ℓ_i − ℓ_i(w₀))) da by a sum over a fine grid of two weights."""
    grid = np.linspace(-6.0, 6.0, 241)
    pairs = jnp.asarray(np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2))
    model = problem.model
    ratios = jax.vmap(lambda a: model.log_likelihood_ratio({"a": a, **others}, statistics))(pairs)
    density = -jnp.sum(pairs**2, axis=1) / 2 - np.log(2 * np.pi) + 2 * np.log(grid[1] - grid[0])
    return float(jax.scipy.special.logsumexp(ratios + density))


@pytest.mark.parametrize(
    ("problem", "flat", "others"),
    [
        (tanh(2), [0.7, -1.2], {"b": [0.7, -1.2]}),
        pytest.param(
            relu(2),
            [0.7, 0.1, -1.2, 0.4],
            {"b": [0.7, -1.2], "c": [0.1, 0.4]},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["basis", "sums"],
)
def test_the_block_is_integrated_out(problem, flat, others):
    with jax.enable_x64(True):
        statistics = one_data_set(problem)
        others = {name: jnp.array(values) for name, values in others.items()}
        target = collapsed_target(problem.model, "a")
        found = target.log_likelihood(jnp.array(flat), (statistics, jnp.ones(2)))
        assert float(found) == pytest.approx(integral_over_block(problem, statistics, others), 1e-9)


@pytest.mark.parametrize("family", [tanh, pytest.param(relu, marks=pytest.mark.slow)])
def test_absent_units_leave_a_narrower_net(family):
    with jax.enable_x64(True):
        few, many = (collapsed_target(family(width).model, "a") for width in (1, 3))
        size = len(few.sample_prior(jax.random.key(1)))
        w = jax.random.normal(jax.random.key(2), (3 * size,))
        narrow = few.log_likelihood(w[:size], (one_data_set(family(1)), jnp.ones(1)))
        present = jnp.array([1.0, 0.0, 0.0])
        wide = many.log_likelihood(w, (one_data_set(family(3)), present))
        assert float(wide) == pytest.approx(float(narrow), 1e-10)


def test_an_unknown_block_is_refused():
    with pytest.raises(ValueError, match=r"^block = 'c': must be one of a, b$"):
        collapsed_target(tanh(1).model, "c")


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=8, standard_errors=6)
@pytest.mark.parametrize("problem", [tanh(2, noise=0.3), relu(1)], ids=["basis", "sums"])
def test_free_energies_are_those_of_the_oracle(problem):
    """The data resolve the true unit."""
    (statistics,) = statistics_along_n(problem, jax.random.key(0), 4, (100,))
    keys, settings = batch_keys(jax.random.key(1), 100, 4, 8), SMCSettings()
    present = np.ones(problem.model.hidden_dim)
    sampled = collapsed_free_energies(problem, 100, statistics, keys, settings, "a", present)
    exact = oracle_for(problem).log_evidence(statistics)
    assert sampled["converged"].all()
    error = sampled["normalised_free_energy_se"].to_numpy()
    assert np.all(error < 0.1)
    off = np.abs(sampled["normalised_free_energy"].to_numpy() + exact.value)
    assert np.all(off < 6 * error + exact.error)
