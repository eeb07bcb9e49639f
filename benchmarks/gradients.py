"""Gradients per second inside our samplers over those of a bare loop of the same gradient."""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.timing import Row, seconds
from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.chees import ChEESSettings, chees
from slt_jax.samplers.sgld import SGLDSettings, sgld
from slt_jax.samplers.smc import SMCSettings, num_gradients, tempered_smc
from slt_jax.samplers.target import Target

AIMS = {"SGLD": 0.8, "HMC": 0.9, "SMC": 0.9}
PROBLEMS = ("tanh_3", "reduced_rank_4_3_2_1")
SAMPLE_SIZE = 1000
TINY = 1e-9
GAMMA = 1.0
STEP_SIZE = 1e-5


class Case(NamedTuple):
    """A sampler at work: ``rate`` runs it and returns gradients per second, of all chains."""

    log_density: Callable[[Array], Array]
    rate: Callable[[], float]


def measure(quick: bool, chains: int = 1024, repeats: int = 7) -> dict[str, Any]:
    """For each problem and sampler: both rates in gradients per second, and their ratio."""
    if quick:
        chains, repeats = 64, 2
    timings: dict[str, Any] = {}
    for name in PROBLEMS[:1] if quick else PROBLEMS:
        problem = named_problems()[name]
        data = statistics_along_n(problem, jax.random.key(0), 1, [SAMPLE_SIZE])[0]
        data = in_precision(jax.tree.map(lambda leaf: leaf[0], data), jnp.float32)
        target = target_of(problem.model)
        positions = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(1), chains))
        cases = {
            "SGLD": _sgld(target, data, positions, quick),
            "HMC": _hmc(target, data, positions, quick),
            "SMC": _smc(target, data, positions, quick),
        }
        timings[name] = {
            sampler: _compare(case, positions, 20 if quick else 1000, repeats)
            for sampler, case in cases.items()
        }
    return {"chains": chains, "sample_size": SAMPLE_SIZE, "repeats": repeats, "problems": timings}


def _compare(case: Case, positions: Array, steps: int, repeats: int) -> dict[str, float]:
    """Medians of alternating measurements, and of the ratio of neighbours."""
    gradients = jax.vmap(jax.grad(case.log_density))

    @jax.jit
    def bare(positions: Array, steps: int) -> Array:
        return jax.lax.fori_loop(0, steps, lambda _, w: w + TINY * gradients(w), positions)

    def bare_rate() -> float:
        return steps * len(positions) / seconds(lambda: bare(positions, steps))

    case.rate(), bare_rate()  # compiles
    pairs = [(case.rate(), bare_rate()) for _ in range(repeats)]
    return {
        "sampler": statistics.median(inside for inside, _ in pairs),
        "bare": statistics.median(outside for _, outside in pairs),
        "ratio": statistics.median(inside / outside for inside, outside in pairs),
    }


def _sgld(target: Target, data: Any, positions: Array, quick: bool) -> Case:
    """One gradient for each step, and one before the first."""
    settings = SGLDSettings(num_warmup=0, num_draws=2 if quick else 20, thinning=50)
    count = settings.num_draws * settings.thinning + 1
    centre = jnp.zeros(positions.shape[1])
    sample = jit_at_first_call(sgld, static_argnums=(0, 1))

    def log_density(w: Array) -> Array:
        return target.log_likelihood(w, data) - GAMMA / 2 * jnp.sum((w - centre) ** 2)

    def rate() -> float:
        key = jax.random.key(2)
        arguments = (target, settings, key, data, 1.0, GAMMA, centre, STEP_SIZE, positions)
        return count * len(positions) / seconds(lambda: sample(*arguments))

    return Case(log_density, rate)


def _hmc(target: Target, data: Any, positions: Array, quick: bool) -> Case:
    """Leapfrog steps of the draws of ChEES: the difference of a long and a short run.

    The warm-up, whose steps are not counted, is the same in both and cancels.
    """
    short = ChEESSettings(num_warmup=20 if quick else 200, num_draws=5)
    long = short._replace(num_draws=15 if quick else 105)
    sample = jit_at_first_call(chees, static_argnums=(0, 1))

    def rate() -> float:
        steps, taken = [], []
        for settings in (short, long):
            results: list[Any] = []
            arguments = (target, settings, jax.random.key(3), data, 1.0, positions)
            taken.append(seconds(lambda a=arguments, r=results: r.append(sample(*a)) or r[0]))
            steps.append(float(results[0].num_steps) * settings.num_draws)
        return (steps[1] - steps[0]) * len(positions) / (taken[1] - taken[0])

    return Case(_posterior(target, data), rate)


def _smc(target: Target, data: Any, positions: Array, quick: bool) -> Case:
    """Leapfrog steps, and one gradient for each chain that starts.

    As many runs side by side as have the chains of the bare loop together.
    """
    settings = SMCSettings()
    if quick:
        settings = settings._replace(num_chains=16, chain_length=4)
    runs = len(positions) // settings.num_chains
    nodes = jnp.ones(1)
    sample = jit_at_first_call(tempered_smc, static_argnums=(0, 1))

    def rate() -> float:
        results: list[Any] = []
        keys = jax.random.split(jax.random.key(4), runs)
        arguments = (target, settings, keys, data, nodes, jnp.array(0.4))
        taken = seconds(lambda: results.append(sample(*arguments)) or results[0])
        return num_gradients(settings, results[0]) / taken

    return Case(_posterior(target, data), rate)


def _posterior(target: Target, data: Any) -> Callable[[Array], Array]:
    return lambda w: target.log_prior(w) + target.log_likelihood(w, data)


def rows(timings: dict[str, Any]) -> list[Row]:
    """A line for each problem and sampler."""
    how = (
        f"gradients/s of the sampler over those of a bare vmapped loop, {timings['chains']} "
        f"chains, float32, n = {timings['sample_size']}, median of {timings['repeats']} "
        "alternating pairs"
    )
    return [
        Row(
            f"{sampler}, {name}",
            f"{rates['ratio']:.2f} ({rates['sampler'] / 1e6:.2f} M/s)",
            f"≥ {AIMS[sampler]}",
            rates["ratio"] >= AIMS[sampler],
            how,
        )
        for name in PROBLEMS
        if name in timings["problems"]
        for sampler in AIMS
        for rates in (timings["problems"][name][sampler],)
    ]
