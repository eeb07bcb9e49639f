"""Chain-steps per second of SGLD on a 5-5-5 linear net, from one chain to a hundred thousand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.timing import Row, median_seconds, times
from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import statistics_along_n
from slt_jax.models.deep_linear import deep_linear
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.sgld import SGLDSettings, sgld

WIDTHS = (5, 5, 5)
RANK = 2
SAMPLE_SIZE = 1000
NUM_DRAWS = 10
STEP_SIZE = 1e-5
GAMMA = 100.0
# Chain-steps per second at so many chains, and what may be lost with more.
AIM, AIMED_AT, LEAST_KEPT = 0.7e6, 1000, 0.9


def measure(quick: bool) -> dict[str, Any]:
    """Rates [chains] in chain-steps per second."""
    numbers = [1, 10] if quick else [1, 10, 100, 1000, 10_000, 100_000]
    rates = [steps_per_second(chains, 2 if quick else 5) for chains in numbers]
    return {"chains": numbers, "rate": rates}


def steps_per_second(chains: int, repeats: int) -> float:
    """Chain-steps per second of SGLD with full gradients, compilation not counted."""
    problem = deep_linear(WIDTHS, RANK)
    target = target_of(problem.model)
    statistics = statistics_along_n(problem, jax.random.key(0), 1, [SAMPLE_SIZE])[0]
    data = in_precision(jax.tree.map(lambda leaf: leaf[0], statistics), jnp.float32)
    layers = [np.ravel(problem.optimum[name]) for name in sorted(problem.optimum)]
    centre = jnp.asarray(np.concatenate(layers), jnp.float32)
    positions = jnp.tile(centre, (chains, 1))
    settings = SGLDSettings(
        num_warmup=0, num_draws=NUM_DRAWS, thinning=max(10, min(2000, 100_000 // chains))
    )
    sample = jit_at_first_call(sgld, static_argnums=(0, 1))

    def run() -> Array:
        key = jax.random.key(1)
        arguments = (target, settings, key, data, 1.0, GAMMA, centre, STEP_SIZE, positions)
        return sample(*arguments).energies

    steps = settings.num_draws * settings.thinning
    return chains * steps / median_seconds(run, repeats)


def rows(timings: dict[str, Any]) -> list[Row]:
    """The rate by chains, and what chains side by side gain over one."""
    rates = dict(zip(timings["chains"], timings["rate"], strict=True))
    best, last = max(rates.values()), timings["chains"][-1]
    reached = AIMED_AT in rates
    many = [rate for chains, rate in rates.items() if chains >= AIMED_AT]
    return [
        Row(
            "SGLD chain-steps",
            ", ".join(f"{rate / 1e6:.2g} M/s at {chains:,}" for chains, rate in rates.items())
            + f"; {times(best / timings['rate'][0])} one chain",
            f"≥ {AIM / 1e6:g} M/s at {AIMED_AT}, no fall to {last:,}",
            rates[AIMED_AT] >= AIM and many[-1] >= LEAST_KEPT * many[0] if reached else None,
            f"{'-'.join(map(str, WIDTHS))} linear net, n = {SAMPLE_SIZE}, full gradients, on one "
            "device",
        )
    ]
