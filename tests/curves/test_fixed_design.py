"""Exact free energies of one design: under which priors, and how they grow."""

import jax
import numpy as np
import pytest

from slt_jax.curves.fixed_design import fixed_design_free_energy, with_prior_scale
from slt_jax.models import named_problems

SIZES = (100, 10_000, 1_000_000)
PROBLEM = named_problems()["linear_3"]


def test_a_problem_with_another_prior() -> None:
    changed = with_prior_scale(PROBLEM, 3.0)
    assert changed.model.prior_scale == 3.0
    assert PROBLEM.model.prior_scale == 1.0
    assert changed.optimum is PROBLEM.optimum


def test_the_free_energy_of_a_regular_problem() -> None:
    """F_n = d/2 log n + d log s + …, so that priors differ by d log s and growth is d/2 log n."""
    narrow, wide = (
        fixed_design_free_energy(PROBLEM, scale, jax.random.key(3), SIZES, 2, 1)
        for scale in (1.0, 10.0)
    )
    values = narrow["normalised_fixed_design_free_energy"]
    assert values.dims == ("large_n", "design")
    assert values["large_n"].to_numpy().tolist() == list(SIZES)
    assert np.all(narrow["normalised_fixed_design_free_energy_error"] < 1e-3)
    assert np.diff(values, axis=0)[1] == pytest.approx(1.5 * np.log(100), rel=1e-3)
    apart = (wide - narrow)["normalised_fixed_design_free_energy"].isel(large_n=-1).to_numpy()
    optimum = np.concatenate([np.ravel(part) for part in jax.tree.leaves(PROBLEM.optimum)])
    expected = 3 * np.log(10) - optimum @ optimum / 2 * (1 - 1 / 100)
    assert apart == pytest.approx(expected, abs=0.01)


def test_a_problem_without_an_oracle_is_refused() -> None:
    problem = named_problems()["reduced_rank_4_3_2_1"]
    with pytest.raises(
        ValueError, match="reduced_rank_4_3_2_1: exact free energies need an oracle"
    ):
        fixed_design_free_energy(problem, 1.0, jax.random.key(3), SIZES, 2, 1)
