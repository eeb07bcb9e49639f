"""Chain-steps per second of SGLD on a 5-5-5 linear net, from one chain to ten thousand."""

from typing import Any

import jax
import jax.numpy as jnp
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


def measure(quick: bool) -> dict[str, Any]:
    """Rates [chains] in chain-steps per second."""
    numbers = [1, 10] if quick else [1, 10, 100, 1000, 10_000]
    rates = [steps_per_second(chains, 2 if quick else 5) for chains in numbers]
    return {"chains": numbers, "rate": rates}


def steps_per_second(chains: int, repeats: int) -> float:
    """Chain-steps per second of SGLD with full gradients, compilation not counted."""
    problem = deep_linear(WIDTHS, RANK)
    target = target_of(problem.model)
    statistics = statistics_along_n(problem, jax.random.key(0), 1, [SAMPLE_SIZE])[0]
    data = in_precision(jax.tree.map(lambda leaf: leaf[0], statistics), jnp.float32)
    centre = jnp.concatenate([jnp.ravel(problem.optimum[k]) for k in sorted(problem.optimum)])
    positions = jnp.tile(centre.astype(jnp.float32), (chains, 1))
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
    """The best rate, and what chains side by side gain over one."""
    chains, rate = timings["chains"], timings["rate"]
    best = max(range(len(rate)), key=rate.__getitem__)
    return [
        Row(
            "SGLD chain-steps",
            f"{rate[best]:.2g}/s at {chains[best]} chains, {times(rate[best] / rate[0])} one chain",
            how=f"{'-'.join(map(str, WIDTHS))} linear net, n = {SAMPLE_SIZE}, full gradients, "
            f"{chains[0]} to {chains[-1]} chains",
        )
    ]
