"""Error bounds of every oracle on real data sets from n = 10 to 10⁶, at β = 1 and β = 1/log n.

A bound is a claim about every data set, so none of those drawn here may break it: there is no
false-alarm probability, as the only comparison is with the same integral on a much finer rule.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest

from slt_jax.data import simulate, summaries_along_n
from slt_jax.model import Problem, Summary, discover_problems
from slt_jax.models.reduced_rank import ReducedRankRegression
from slt_jax.models.relu_net import ReluNet
from slt_jax.models.shallow_net import ShallowNet
from slt_jax.models.tanh_net import TanhNet
from slt_jax.oracles import oracle_for, training_criteria

SIZES = (10, 100, 1000, 10_000, 100_000, 1_000_000)
NUM_SETS = 50
# Rules of 10⁵ nodes and more see ten data sets of each size, which makes sixty, and so do
# likelihoods that cost n at each node, of which the sizes end at 1000.
NUM_EXPENSIVE = 10
LARGEST_WITHOUT_STATISTICS = 1000
CRITERIA_SIZES = (10, 120)
NUM_CRITERIA, NUM_EXPENSIVE_CRITERIA = 30, 2
NUM_EXACT = 8  # fields of TrainingCriteria that have a bound


def is_expensive(problem: Problem) -> bool:
    large = problem.name.startswith(("skalse", "tanh_3", "reduced_rank_2_2_2"))
    return large or not problem.model.summary_is_additive


def sizes_of(problem: Problem) -> tuple[int, ...]:
    if problem.model.summary_is_additive:
        return SIZES
    return tuple(n for n in SIZES if n <= LARGEST_WITHOUT_STATISTICS)


def biased_unit(name: str, activation: str) -> Problem:
    model = ShallowNet(hidden_dim=1, activation=activation, biases=True)
    optimum = {"a": np.ones((1, 1)), "b": np.ones((1, 1)), "c": np.array([-0.5])}
    return Problem(name, model, optimum)


# Optima that no discovered problem has: off the axes, far out, and seen through one input.
OTHERS = (
    Problem("tanh_1_far", TanhNet(hidden_dim=1), {"a": np.array([1.0]), "b": np.array([4.0])}),
    Problem(
        "reduced_rank_tilted",
        ReducedRankRegression(input_dim=2, output_dim=2, hidden_dim=1, noise=0.5),
        {"A": np.array([[0.6, -0.8]]), "B": np.array([[1.0], [1.0]])},
    ),
    Problem(
        "reduced_rank_one_input",
        ReducedRankRegression(input_dim=1, output_dim=2, hidden_dim=2, prior_scale=2.0),
        {"A": np.array([[1.0], [0.0]]), "B": np.array([[1.0, 0.0], [0.0, 0.0]])},
    ),
    Problem(
        "relu_3_teacher_2",
        ReluNet(hidden_dim=3, noise=0.5, prior_scale=1.3),
        {"a": np.array([1.0, 0.5, 0.0]), "b": np.array([1.0, -2.0, 0.0])},
    ),
    biased_unit("tanh_biased_1", "tanh"),
    biased_unit("softplus_biased_1", "softplus"),
    biased_unit("silu_biased_1", "silu"),
)
DISCOVERED = tuple(problem for problem in discover_problems().values() if oracle_for(problem))


class Violation(NamedTuple):
    """One value that is further from the finest than the bounds of both say."""

    ratio: float
    n: int
    beta: float
    level: int
    quantity: str
    replicate: int
    distance: float
    bound: float


HEADER = f"{'n':>8} {'beta':>6} level {'quantity':<24} set {'off by':>9} {'bound':>9} ratio"


def row(v: Violation) -> str:
    return (
        f"{v.n:>8} {v.beta:>6.3f} {v.level:>5} {v.quantity:<24} {v.replicate:>3} "
        f"{v.distance:>9.2e} {v.bound:>9.2e} {v.ratio:>5.1f}"
    )


@functools.lru_cache(maxsize=1)
def data_sets(problem: Problem) -> list[Summary]:
    count = NUM_EXPENSIVE if is_expensive(problem) else NUM_SETS
    return summaries_along_n(problem, jax.random.key(51), count, sizes_of(problem))


def violations(problem: Problem, n: int, summary: Summary) -> tuple[list[Violation], int]:
    """Where levels 1 and 2 differ from level 3 by more than both bounds, and how many were asked.

    Twice rounding, 1e-12 of the value, is allowed on top.
    """
    found, checks = [], 0
    for beta in (1.0, 1 / np.log(n)):
        coarse, middle, fine = (
            oracle_for(problem, level).moments(summary, beta) for level in (1, 2, 3)
        )
        for level, moments in ((1, coarse), (2, middle)):
            for quantity in fine._fields:
                claimed, best = getattr(moments, quantity), getattr(fine, quantity)
                distances = np.abs(claimed.value - best.value)
                bounds = claimed.error + best.error + 1e-12 * (1 + np.abs(best.value))
                checks += len(bounds)
                for r in np.flatnonzero(~(distances <= bounds)):
                    ratio = distances[r] / bounds[r]
                    found.append(
                        Violation(ratio, n, beta, level, quantity, r, distances[r], bounds[r])
                    )
    return found, checks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "n"),
    [(problem, n) for problem in (*DISCOVERED, *OTHERS) for n in sizes_of(problem)],
    ids=lambda value: getattr(value, "name", value),
)
def test_error_bounds_are_true(problem, n):
    """|value − finest| ≤ sum of their bounds, for F, E and Var, on every data set."""
    found, checks = violations(problem, n, data_sets(problem)[sizes_of(problem).index(n)])
    table = "\n".join(row(v) for v in sorted(found, reverse=True))
    assert not found, f"{problem.name}: {len(found)} of {checks} bounds fail\n{HEADER}\n{table}"


@pytest.mark.slow
@pytest.mark.parametrize("n", CRITERIA_SIZES)
@pytest.mark.parametrize("problem", [*DISCOVERED, *OTHERS], ids=lambda p: p.name)
def test_error_bounds_of_criteria_are_true(problem, n):
    """T_n, V_n, WAIC, LOO and the rest of single data sets, whose bounds no other set props up."""
    count = NUM_EXPENSIVE_CRITERIA if is_expensive(problem) else NUM_CRITERIA
    oracles = [oracle_for(problem, level) for level in (1, 2, 3)]
    found, checks = [], 0
    for r in range(count):
        data = simulate(problem, jax.random.fold_in(jax.random.key(52), r), n)
        *claims, best = (training_criteria(oracle, data) for oracle in oracles)
        for level, claim in enumerate(claims, start=1):
            for quantity in claim._fields[:NUM_EXACT]:
                one, two = getattr(claim, quantity), getattr(best, quantity)
                distance = abs(one.value - two.value)
                bound = one.error + two.error + 1e-12 * (1 + abs(two.value))
                checks += 1
                if not distance <= bound:
                    found.append(
                        Violation(distance / bound, n, 1.0, level, quantity, r, distance, bound)
                    )
    table = "\n".join(row(v) for v in sorted(found, reverse=True))
    assert not found, f"{problem.name}: {len(found)} of {checks} bounds fail\n{HEADER}\n{table}"
