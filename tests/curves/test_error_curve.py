"""Errors against n: the points on which generalisation errors are averaged, and names of tasks."""

import numpy as np
import pytest

from slt_jax.curves.config import ErrorConfig
from slt_jax.curves.error_curve import curve_oracle, task_name
from slt_jax.curves.held_out import held_out_points
from slt_jax.models import named_problems
from slt_jax.oracles.criteria import quadrature_points


def test_a_small_rule_where_points_would_be_many() -> None:
    """It has the entropy of the truth all the same: Gauss rules are exact for squares."""
    problem = named_problems()["reduced_rank_2_2_1_0"]
    few, many = held_out_points(problem), quadrature_points(problem)
    assert len(few.weights) < 0.1 * len(many.weights)
    residuals = np.asarray(few.data.y)
    for weights in (few.weights, few.check):
        assert weights is not None
        assert weights.sum() == pytest.approx(1.0)
        assert weights @ residuals**2 == pytest.approx(1.0)


def test_the_usual_rule_elsewhere() -> None:
    problem = named_problems()["monomial_1_1"]
    assert held_out_points(problem).weights.shape == quadrature_points(problem).weights.shape


def test_a_problem_without_an_oracle_is_refused() -> None:
    with pytest.raises(ValueError, match="superposition_5: a learning curve needs an exact oracle"):
        curve_oracle(named_problems()["superposition_5"], ErrorConfig())


def test_names_of_tasks_tell_large_sizes_apart() -> None:
    problem = named_problems()["monomial_1_1"]
    names = [task_name(problem, "exact", n) for n in (1_000_000, 1_000_001)]
    assert names == ["monomial_1_1.exact.1000000", "monomial_1_1.exact.1000001"]
