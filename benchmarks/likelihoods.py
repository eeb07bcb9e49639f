"""Gradients per second of every model family, against what the machine does in a matrix product."""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.timing import Row, seconds
from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.models.deep_linear import deep_linear
from slt_jax.problem import Problem
from slt_jax.run.devices import JobFunction
from slt_jax.samplers.ensemble import gradients
from slt_jax.samplers.target import Target

SAMPLE_SIZE = 1000
DATA_SETS = 64
MATRIX = 2048
TINY = 1e-9
# Seconds that one timed call should take.
ENOUGH = 0.3


class Family(NamedTuple):
    """A problem that stands for its family.

    ``flops`` of a value and its gradient at n data, in which a sum or product counts 1 and an
    elementary function 20, None where it mostly searches; ``aim`` in gradients per second for each
    GFlop/s of a matrix product.
    """

    name: str
    flops: Callable[[Any, int], float] | None
    aim: float | None = None


ELEMENTARY = 20


def form(features: int, outputs: int) -> float:
    """Flops of δᵀ(Mδ − 2U) and of its gradient, which are of one product Mδ."""
    return 2 * features**2 * outputs + 5 * features * outputs


def products(*sizes: int) -> float:
    """Flops of the product of a chain of matrices, and of its gradient: three products for one."""
    rows, *inner, columns = sizes
    return 6 * sum(a * b for a, b in zip(inner, [*inner[1:], columns], strict=True)) * rows


def units(model: Any, points: int, inputs: int = 1) -> float:
    """Flops of H units at so many points: an argument, a function, a sum, and their gradient."""
    return points * model.hidden_dim * (ELEMENTARY + 4 * inputs + 8)


FAMILIES = (
    Family("linear_3", lambda m, n: form(3, 1)),
    Family("monomial_1_1", lambda m, n: form(1, 1) + 3),
    Family("legendre_4", lambda m, n: form(4, 1)),
    Family("powers_x2", lambda m, n: form(5, 1) + 15),
    Family("power_law_8", lambda m, n: form(8, 1)),
    Family("skalse_0", lambda m, n: form(5, 1) + 45),
    Family("parabola_critical", lambda m, n: form(2, 1) + 4),
    Family("reduced_rank_4_3_2_1", lambda m, n: products(3, 2, 4) + form(4, 3), 85_000),
    Family("deep_linear_5_5_5_rank_2", lambda m, n: products(5, 5, 5) + form(5, 5), 8_500),
    Family("tanh_3", lambda m, n: units(m, m.num_nodes) + form(m.num_nodes, 1), 25_000),
    Family("relu_2", lambda m, n: form(2, 1) + 12),
    Family("relu_biased_2_teacher_1", None),
    Family("boolean_parity", lambda m, n: 2 ** m.widths[0] * (3 * ELEMENTARY + 24)),
    Family("tanh_2d_3_teacher_2", lambda m, n: units(m, n, 2) + 5 * n),
    Family("silu_biased_2_teacher_1", lambda m, n: units(m, n, 1) + 5 * n),
    Family("superposition_4", lambda m, n: n * (12 * m.num_features * m.hidden_dim + 20)),
    Family("mixture_2", lambda m, n: n * (2 * (ELEMENTARY + 8) + ELEMENTARY)),
)


def measure(quick: bool, repeats: int = 5) -> dict[str, Any]:
    """For each family: gradients per second by chains and data sets, and of how many GFlop/s.

    Chains and data sets are spread over all devices, as jobs are, and so are the matrix products.
    """
    shapes = [(1, 64)] if quick else [(1, 1024), (1, 8192), (DATA_SETS, 8192 // DATA_SETS)]
    families = FAMILIES[:2] if quick else FAMILIES
    timings = {
        family.name: [_compare(family, *shape, 1 if quick else repeats) for shape in shapes]
        for family in families
    }
    return {
        "shapes": shapes,
        "devices": len(jax.local_devices()),
        "sample_size": SAMPLE_SIZE,
        "repeats": repeats,
        "families": timings,
    }


def _compare(family: Family, data_sets: int, chains: int, repeats: int) -> dict[str, float]:
    """Medians of alternating measurements of gradients/s and of flop/s."""
    problem = _problem(family.name)
    jobs = _jobs(problem, data_sets, chains)
    matrices = np.ones((len(jax.local_devices()), MATRIX, MATRIX), np.float32)

    def rate(steps: int) -> float:
        taken = seconds(lambda: advance(target_of(problem.model), np.int32(steps), *jobs))
        return data_sets * chains * steps / taken

    def flops(steps: int) -> float:
        taken = seconds(lambda: multiply(np.int32(steps), matrices))
        return len(matrices) * steps * 2.0 * MATRIX**3 / taken

    steps = _enough(rate, data_sets * chains)
    products = _enough(flops, 2 * len(matrices) * MATRIX**3)
    pairs = [(rate(steps), flops(products)) for _ in range(repeats)]
    measured = {
        "rate": statistics.median(gradient for gradient, _ in pairs),
        "flops": statistics.median(machine for _, machine in pairs),
        "per_gigaflops": 1e9 * statistics.median(gradient / machine for gradient, machine in pairs),
    }
    if family.flops is not None:
        needed = family.flops(problem.model, SAMPLE_SIZE)
        measured["share"] = needed * measured["per_gigaflops"] / 1e9
    return measured


def _enough(rate: Callable[[int], float], each: float) -> int:
    """Return how many steps of so much work take a third of a second; compiles on the way."""
    rate(1)
    return max(1, int(ENOUGH * rate(3) / each))


def _problem(name: str) -> Problem:
    return deep_linear((5, 5, 5), 2) if name.startswith("deep_linear") else named_problems()[name]


def _jobs(problem: Problem, data_sets: int, chains: int) -> tuple[Any, Array]:
    """Statistics and first positions [job, chain, d]; one data set gives every device a job."""
    data = statistics_along_n(problem, jax.random.key(0), data_sets, [SAMPLE_SIZE])[0]
    target = target_of(problem.model)
    keys = jax.random.split(jax.random.key(1), data_sets * chains)
    positions = np.asarray(jax.vmap(target.sample_prior)(keys), np.float32)
    data = jax.tree.map(np.asarray, in_precision(data, jnp.float32))
    jobs = len(jax.local_devices()) if data_sets == 1 else data_sets
    data = jax.tree.map(lambda leaf: np.repeat(leaf, jobs // data_sets, 0), data)
    return data, positions.reshape(jobs, -1, positions.shape[-1])


def _advance(target: Target, steps: Array, data: Any, positions: Array) -> Array:
    def gradients_of_job(data: Any, positions: Array) -> Array:
        def density(w: Array) -> tuple[Array, Array]:
            log_likelihood = target.log_likelihood(w, data)
            return target.log_prior(w) + log_likelihood, log_likelihood

        return gradients(density, positions)

    def step(_: int, positions: Array) -> Array:
        return positions + TINY * jax.vmap(gradients_of_job)(data, positions)

    return jax.lax.fori_loop(0, steps, step, positions)


def _multiply(steps: Array, matrices: Array) -> Array:
    def step(_: int, product: Array) -> Array:
        return TINY * (matrices[0] @ product)

    return jax.lax.fori_loop(0, steps, step, matrices[0])[None, :1]


advance = JobFunction(_advance, num_static=1, num_shared=1)
multiply = JobFunction(_multiply, num_static=0, num_shared=1)


def rows(timings: dict[str, Any]) -> list[Row]:
    """A line for each family."""
    shapes = ", ".join(
        f"{chains} chains" + (f" on each of {sets} data sets" if sets > 1 else "")
        for sets, chains in timings["shapes"]
    )
    how = (
        f"M gradients/s, per GFlop/s of a float32 matrix product of the same run, and share of "
        f"those flops, at {shapes}; n = {timings['sample_size']}, float32, "
        f"{timings['devices']} devices, median of {timings['repeats']} alternating pairs"
    )
    return [
        Row(
            f"gradients/s, {family.name}",
            "; ".join(map(_cell, measured)),
            f"≥ {family.aim:,.0f} per GFlop/s" if family.aim else "—",
            min(m["per_gigaflops"] for m in measured) >= family.aim if family.aim else None,
            how,
        )
        for family in FAMILIES
        for measured in [timings["families"].get(family.name)]
        if measured
    ]


def _cell(measured: dict[str, float]) -> str:
    share = f", {measured['share']:.1%}" if "share" in measured else ""
    return f"{measured['rate'] / 1e6:.3g} M/s ({measured['per_gigaflops']:,.0f}{share})"
