"""Designed data of any n, and the growth of the exact free energy against the theory's."""

import jax
import numpy as np
import pytest

from slt_jax.curves.free_energy import increment_gaps, is_followed_fast
from slt_jax.data import CHUNK, fixed_design_statistics
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem, Truth

PROBLEMS = named_problems()


@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_designed_statistics_have_their_distribution():
    """M = n·M₁ exactly; UᵀM⁻¹U/σ² is χ² with p degrees, mean 3 ± 0.077 over 1000 replicates."""
    problem = PROBLEMS["linear_3"]
    small, large = fixed_design_statistics(problem, jax.random.key(1), 1000, (CHUNK, 10**9))
    small, large = (jax.tree.map(np.asarray, statistics) for statistics in (small, large))
    np.testing.assert_allclose(large.gram, small.gram * (10**9 / CHUNK), rtol=1e-12)
    squares = np.einsum("rpq,rpq->r", large.cross, np.linalg.solve(large.gram, large.cross))
    assert abs(squares.mean() - 3) < 5 * np.sqrt(6 / 1000)
    np.testing.assert_allclose(large.cross, small.cross * np.sqrt(10**9 / CHUNK), rtol=1e-10)


def test_designed_data_need_a_realisable_regression():
    """Anything else is refused by name."""
    linear = PROBLEMS["linear_3"]
    other = Problem("other", linear.model, linear.optimum, truth=Truth(linear.model, {}))
    with pytest.raises(ValueError, match="other"):
        fixed_design_statistics(other, jax.random.key(0), 2, (10,))


@pytest.mark.parametrize("name", ["linear_3", "monomial_1_1_1", "tanh_2"])
def test_growth_per_decade_nears_the_theorem(name):
    """|gap| falls in every decade and a wrong λ or m would leave it above 0.1 nats.

    One unit of m is worth log(log 10⁸/log 10⁷) = 0.13 nats in the last decade, λ off by 1/12
    is 0.19; the exact gap there is below 0.05.
    """
    problem = PROBLEMS[name]
    curve = increment_gaps(oracle_for(problem, 1), problem.theory, jax.random.key(2))
    gap, error = curve["increment_gap"].to_numpy(), curve["increment_gap_se"].to_numpy()
    assert np.all(np.diff(np.abs(gap)) < 2 * error[1:] + 1e-3)
    assert abs(gap[-1]) + 3 * error[-1] < 0.1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("linear_3", True), ("tanh_2", True), ("tanh_3", False), ("skalse_x2", False)],
)
def test_evidence_is_integrated_where_far_data_sets_take_seconds(name, expected):
    assert is_followed_fast(oracle_for(PROBLEMS[name], 1)) is expected
