"""The evidence is a density on data sets, and a wrong one is found out."""

import dataclasses

import jax
import pytest

from slt_jax.models import named_problems
from slt_jax.oracles.checks import evidence_integral
from slt_jax.oracles.oracle import oracle_for

PROBLEMS = named_problems()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["monomial_1_1", "tanh_1"])
@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_evidence_integrates_to_one(name):
    """Within 5 standard errors, of less than 2 %: a false alarm in 10⁶."""
    integral = evidence_integral(oracle_for(PROBLEMS[name], 1), jax.random.key(11), 2, 4000)
    assert integral.standard_error < 0.02
    assert abs(integral.value - 1) < 5 * integral.standard_error


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_wrong_evidence_does_not():
    """A collapse with a block 1.5 times as wide as the model's offset noise is no density."""
    oracle = oracle_for(PROBLEMS["linear_3"], 1)
    wrong = oracle._replace(model=dataclasses.replace(oracle.model, noise=1.5))
    right = evidence_integral(oracle, jax.random.key(12), 2, 3500)

    class Mixed:
        """The right reference with the wrong evidence."""

        problem, model = oracle.problem, oracle.model
        log_evidence = wrong.log_evidence

    integral = evidence_integral(Mixed, jax.random.key(12), 2, 3500)
    assert right.standard_error < 0.02
    assert abs(right.value - 1) < 5 * right.standard_error
    assert abs(integral.value - 1) > 10 * integral.standard_error


@pytest.mark.parametrize(("n", "data_sets"), [(0, 10), (2, 1)])
def test_bad_sizes_are_named(n, data_sets):
    """n ≥ 1 and at least two data sets."""
    with pytest.raises(ValueError, match=f"n = {n}, data sets = {data_sets}"):
        evidence_integral(oracle_for(PROBLEMS["linear_3"]), jax.random.key(0), n, data_sets)
