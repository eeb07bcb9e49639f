"""F_n of one data set from the first second: ``slt_jax.sample`` against a loop of blackjax's SMC.

Both have the same likelihood from sufficient statistics, which both compute, and both compile. The
peer's time is scaled to the standard error that ours has.
"""

import importlib
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import slt_jax
from benchmarks import blackjax_loop
from benchmarks.timing import Row
from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import simulate, statistics_of
from slt_jax.estimators import free_energy_from_evidence
from slt_jax.models import named_problems
from slt_jax.problem import Problem
from slt_jax.run.compilation import CompilationCounter
from slt_jax.statistics import Data

SAMPLE_SIZE = 1000
RUNS = 8
MOST = 0.6
# The peer tunes no step. Of 0.01, 0.02, 0.05, 0.1, 0.2 and 0.4 these have about the smallest
# variance times time.
STEP_SIZES = {
    "tanh_3": 0.05,
    "monomial_1_1": 0.05,
    "linear_3": 0.1,
    "reduced_rank_2_2_1_0": 0.1,
    "relu_2": 0.1,
    "tanh_2_teacher_1": 0.1,
    "deep_linear_2_2_2_2_rank_1": 0.05,
    "legendre_4": 0.1,
}


class Answer(NamedTuple):
    """F_n and its squared standard error, of RUNS runs, in nats."""

    value: float
    square: float


Answers = Callable[[int], Answer]


def measure(quick: bool) -> dict[str, Any]:
    """Seconds and errors of both by problem, the first and the later answers apart."""
    names = list(STEP_SIZES)[:1] if quick else list(STEP_SIZES)
    warm_answers = 2 if quick else 8
    return {
        "sample_size": SAMPLE_SIZE,
        "runs": RUNS,
        "warm_answers": warm_answers,
        "problems": {name: _of_problem(name, warm_answers) for name in names},
    }


def _of_problem(name: str, warm_answers: int) -> dict[str, Any]:
    """One cold start of each, and medians of alternating answers once both are compiled."""
    problem = named_problems()[name]
    data = simulate(problem, jax.random.key(0), SAMPLE_SIZE)
    exact = slt_jax.exact(problem, data).normalised_free_energy.value
    importlib.import_module("blackjax")  # both need it
    cold, compiling, ready = {}, {}, {}
    # The peer's program outlives the caches, and ours need not be compiled again.
    for which, method in (("peer", _peer), ("ours", _ours)):
        jax.clear_caches()
        with CompilationCounter() as clock:
            start = time.perf_counter()
            ready[which] = method(problem, data)
            ready[which](0)
            cold[which] = time.perf_counter() - start
        compiling[which] = clock.seconds
    warm: dict[str, list[float]] = {which: [] for which in ready}
    answers: dict[str, list[Answer]] = {which: [] for which in ready}
    for index in range(1, warm_answers + 1):
        for which, answer in ready.items():
            start = time.perf_counter()
            answers[which].append(answer(index))
            warm[which].append(time.perf_counter() - start)
    return {
        which: {
            "cold_seconds": cold[which],
            "compile_seconds": compiling[which],
            "warm_seconds": statistics.median(warm[which]),
            "standard_error": float(np.sqrt(np.mean([a.square for a in answers[which]]))),
            "error": float(np.mean([a.value for a in answers[which]]) - exact),
        }
        for which in ready
    }


def _ours(problem: Problem, data: Data) -> Answers:
    def answer(index: int) -> Answer:
        key = jax.random.key(index)
        found = slt_jax.sample(problem, data, key=key, seeds=RUNS).normalised_free_energy
        return Answer(float(found.value), float(found.standard_error) ** 2)

    return answer


def _peer(problem: Problem, data: Data) -> Answers:
    """Compile one run, for a loop over runs as in the manual of blackjax."""
    target, step_size = target_of(problem.model), STEP_SIZES[problem.name]
    numbers = in_precision(statistics_of(problem, data), jnp.float32)
    sample = blackjax_loop.sampler(target, target.log_likelihood)
    program, _ = blackjax_loop.compiled(sample, numbers)

    def answer(index: int) -> Answer:
        keys = [jax.random.key(RUNS * index + run) for run in range(RUNS)]
        evidences = np.array([-float(program(key, numbers, step_size)) for key in keys])
        found = free_energy_from_evidence(evidences)
        return Answer(float(found.value), float(found.standard_error) ** 2)

    return answer


def ratios(problems: dict[str, Any]) -> tuple[float, float]:
    """Our time over the peer's at our standard errors, from the first second and when compiled."""
    cold, warm = {"ours": 0.0, "peer": 0.0}, {"ours": 0.0, "peer": 0.0}
    for both in problems.values():
        for which, spent in both.items():
            scale = (spent["standard_error"] / both["ours"]["standard_error"]) ** 2
            warm[which] += spent["warm_seconds"] * scale
            cold[which] += spent["cold_seconds"] + spent["warm_seconds"] * (scale - 1)
    return cold["ours"] / cold["peer"], warm["ours"] / warm["peer"]


def ordered(timings: dict[str, Any]) -> dict[str, Any]:
    """The problems in the order above, which a file does not keep."""
    return {name: timings["problems"][name] for name in STEP_SIZES if name in timings["problems"]}


def rows(timings: dict[str, Any]) -> list[Row]:
    """Our share of the peer's time, for the first problem and for all."""
    problems = ordered(timings)
    first = next(iter(problems))
    groups = {first: {first: problems[first]}, f"{len(problems)} problems": problems}
    how = (
        f"F_n of one data set with n = {timings['sample_size']}, {timings['runs']} runs of 512 "
        "particles, our likelihood, import not counted; the peer's sampling scaled to our "
        "standard error"
    )
    table = []
    for group, of_group in groups.items():
        cold, warm = ratios(of_group)
        label = f"blackjax SMC loop, {group}"
        table += [
            Row(f"{label}, end to end", f"{cold:.2f}", f"≤ {MOST}", cold <= MOST,
                f"our time over the peer's, nothing compiled: {_seconds(of_group)}; {how}"),
            Row(f"{label}, compiled", f"{warm:.3f}", f"≤ {MOST}", warm <= MOST,
                f"the same answer again with another key, median of {timings['warm_answers']} "
                f"alternating pairs; {_errors(of_group)}"),
        ]  # fmt: skip
    return table


def _seconds(problems: dict[str, Any]) -> str:
    def of(which: str) -> str:
        cold, compiling = (
            sum(both[which][f"{name}_seconds"] for both in problems.values())
            for name in ("cold", "compile")
        )
        return f"{cold:.1f} s, of which XLA {compiling:.1f} s"

    return f"{of('ours')}, and {of('peer')} unscaled"


def _errors(problems: dict[str, Any]) -> str:
    def of(which: str) -> str:
        each = [both[which] for both in problems.values()]
        errors = ", ".join(f"{one['standard_error']:.3f}" for one in each)
        differences = ", ".join(f"{one['error']:+.3f}" for one in each)
        return f"{errors} (mean differences to the oracle {differences})"

    return f"standard errors {of('ours')} nats ours, {of('peer')} the peer's"
