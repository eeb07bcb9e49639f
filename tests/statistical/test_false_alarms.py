"""The probability that the fast tests raise a false alarm, counted over all their comparisons.

Keys are fixed, so that a test that has passed passes: the budget is for the day on which random
numbers change, with JAX, NumPy or the order in which a sampler draws.
"""

import re
from pathlib import Path

import pytest
from scipy import stats

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
BUDGET = 1e-4
MARKS = re.compile(r"standard errors?\b.*\d|\d standard error|false alarm|kstest|CERTAIN", re.I)
COLUMNS = ("test file", "comparisons", "held to", "false alarms")

# File, comparisons in the fast suite, standard errors (two-sided; with a second number the degrees
# of freedom of Student's t), or else the probability of each by its own p-value or quantile.
COUNTED: tuple[tuple[str, int, float | tuple[float, int], bool], ...] = (
    ("adapters/test_flax_module.py", 0, 5.0, True),
    ("adapters/test_numpyro_model.py", 4, 1e-6, False),
    ("estimators/test_calibration.py", 4, 5.0, True),
    ("estimators/test_chains.py", 6, 5.0, True),
    ("estimators/test_criteria.py", 2, 1e-6, False),
    ("estimators/test_estimate.py", 2, 5.0, True),
    ("estimators/test_fluctuations.py", 5, 5.0, True),
    ("estimators/test_free_energy.py", 1, 5.0, True),
    ("estimators/test_ladder.py", 8, 1e-7, False),
    ("estimators/test_local.py", 8 + 12, 5.5, True),
    ("estimators/test_losses.py", 36, 1e-7, False),
    ("estimators/test_losses.py", 12, 5.5, True),
    ("estimators/test_power_law.py", 6, 2e-7, False),
    ("estimators/test_ranks.py", 6, 5.5, True),
    ("estimators/test_scaling.py", 10, 1e-7, False),
    ("models/test_normal_mixture.py", 3, 1e-6, False),
    ("models/test_normal_parabola.py", 1, 1e-6, False),
    ("models/test_power_law.py", 8, 6.0, True),
    ("oracles/test_brute_force.py", 15 * 8, 6.0, True),
    ("oracles/test_subdivision.py", 1, 5.0, True),
    ("oracles/test_checks.py", 4, 5.0, True),
    ("oracles/test_criteria.py", 2, 5.0, True),
    ("oracles/test_location.py", 8, 5.5, True),
    ("oracles/test_oracle.py", 12, 6.0, True),
    ("oracles/test_structures.py", 2, (5.0, 99), True),
    ("oracles/test_trend.py", 22, (9.0, 15), True),
    ("oracles/test_trend.py", 22, (7.0, 26), True),
    ("samplers/test_chees.py", 7, 5.5, True),
    ("samplers/test_hmc.py", 3, 5.5, True),
    ("samplers/test_nuts.py", 20, 5.5, True),
    ("samplers/test_reference.py", 1, 5.0, True),
    ("samplers/test_sampling.py", 16, 5.5, True),
    ("samplers/test_sgld.py", 40, 5.5, True),
    ("samplers/test_smc.py", 6, 1e-6, False),
    ("samplers/test_smc.py", 1, 5.5, True),
    ("samplers/test_tempering.py", 4, 5.5, True),
    ("theory/test_measurement.py", 1, 1e-6, False),
    ("test_accelerator.py", 0, 5.0, True),
    ("test_curves.py", 1, 5.0, True),
    ("test_diagnostics.py", 9, 5.0, True),
    ("test_learning_curves.py", 15, (6.0, 63), True),
    ("test_learning_curves.py", 1, 6.0, True),
    ("test_learning_exponents.py", 8, 6.0, True),
    ("test_models.py", 24 * 128 * 2, 6.0, True),
    ("test_models.py", 24 * 3, 1e-7, False),
    ("test_models.py", 21, 2e-7, False),
    ("test_models.py", 48, 6.0, True),
    ("test_priors.py", 1, 1e-6, False),
    ("test_simulated_ranks.py", 8, 1e-8, False),
    ("test_skalse_polynomial.py", 1, 5.0, True),
)
TEXT = f"""## False alarms of the fast tests

Every comparison of the fast tests with a random number, counted by hand in each file, at the
probability with which it would fail by chance if the keys were others: of so many standard errors
by the normal law, or Student's t with the degrees of freedom in brackets, or by the p-value that is
asked for. The sum bounds the probability that any fails; it must be below {BUDGET:g}.
"""


def probability(held_to: float | tuple[float, int], by_errors: bool) -> float:
    """That one comparison fails by chance."""
    if not by_errors:
        assert isinstance(held_to, float)
        return held_to
    errors, law = (held_to, stats.norm) if isinstance(held_to, float) else (
        held_to[0], stats.t(held_to[1])
    )  # fmt: skip
    return float(2 * law.sf(errors))


def test_the_budget_is_kept(record):
    rows, total = [], 0.0
    for file, count, held_to, by_errors in COUNTED:
        each = probability(held_to, by_errors)
        total += count * each
        wide = isinstance(held_to, tuple)
        label = f"{held_to[0]:g} s.e. (t, {held_to[1]})" if wide else f"{held_to:g} s.e."
        rows.append(
            [file, str(count), label if by_errors else f"p = {held_to:g}", f"{count * each:.1e}"]
        )
    rows.append(["all", str(sum(line[1] for line in COUNTED)), "—", f"{total:.1e}"])
    record("false_alarms", TEXT, COLUMNS, ["count"], "count", rows)
    assert total < BUDGET


def test_every_file_that_compares_random_numbers_is_counted():
    known = {line[0] for line in COUNTED}
    missing = [
        str(file.relative_to(TESTS))
        for file in sorted(TESTS.rglob("test_*.py"))
        if file.parent.name != "statistical"
        and MARKS.search(file.read_text("utf-8"))
        and str(file.relative_to(TESTS)) not in known
    ]
    assert not missing
    assert all((TESTS / file).is_file() for file in known)


def test_a_bound_that_is_too_small_is_noticed():
    assert 1000 * probability(5.0, True) > BUDGET
    assert probability((8.0, 15), True) > 100 * probability(8.0, True)
