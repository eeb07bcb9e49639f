"""Gradients per second inside our samplers over those of a bare loop of the same gradient.

Random numbers are counted apart: what the sampler's own would take alone, drawn in the same way, is
taken off its time.
"""

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
from slt_jax.samplers.ensemble import gradients
from slt_jax.samplers.hmc import normal_rows
from slt_jax.samplers.mala import MALASettings, mala
from slt_jax.samplers.sgld import SGLDSettings, sgld
from slt_jax.samplers.smc import SMCSettings, num_gradients, tempered_smc
from slt_jax.samplers.target import Target
from slt_jax.samplers.tempering import ParallelTemperingSettings, parallel_tempering

SAMPLERS = ("SGLD", "MALA", "HMC", "SMC", "tempering")
AIM = 0.85
PROBLEMS = ("tanh_3", "reduced_rank_4_3_2_1")
SAMPLE_SIZE = 1000
TINY = 1e-9
GAMMA = 1.0
STEP_SIZE = 1e-5
# Moves whose noise is drawn in one call.
NOISE_MOVES = 16


class Case(NamedTuple):
    """A sampler at work: ``rate`` runs it and returns gradients per second, of all chains.

    ``noise`` is how many random numbers it draws for each gradient.
    """

    log_density: Callable[[Array], Array]
    rate: Callable[[], float]
    noise: float


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
            "MALA": _mala(target, data, positions, quick),
            "HMC": _hmc(target, data, positions, quick),
            "SMC": _smc(target, data, positions, quick),
            "tempering": _tempering(target, data, positions, quick),
        }
        timings[name] = {
            sampler: _compare(case, positions, 20 if quick else 1000, repeats)
            for sampler, case in cases.items()
        }
    return {"chains": chains, "sample_size": SAMPLE_SIZE, "repeats": repeats, "problems": timings}


def _compare(case: Case, positions: Array, steps: int, repeats: int) -> dict[str, float]:
    """Medians of alternating measurements, and of ratios of neighbours."""

    def density(w: Array) -> tuple[Array, Array]:
        log_density = case.log_density(w)
        return log_density, log_density

    def bare(positions: Array, steps: int) -> Array:
        def step(_: int, w: Array) -> Array:
            return w + TINY * gradients(density, w)

        return jax.lax.fori_loop(0, steps, step, positions)

    def draw(key: Array, calls: int) -> Array:
        def step(index: Array, total: Array) -> Array:
            fresh = jax.random.fold_in(key, index)
            return total + normal_rows(fresh, NOISE_MOVES, positions.size, positions.dtype)

        start = jnp.zeros((NOISE_MOVES, positions.size), positions.dtype)
        return jax.lax.fori_loop(0, calls, step, start)

    run_bare, run_draw = jit_at_first_call(bare), jit_at_first_call(draw)
    calls = max(1, steps // NOISE_MOVES)

    def bare_rate() -> float:
        return steps * len(positions) / seconds(lambda: run_bare(positions, steps))

    def noise_rate() -> float:
        numbers = calls * NOISE_MOVES * positions.size
        return numbers / seconds(lambda: run_draw(jax.random.key(5), calls))

    case.rate(), bare_rate(), noise_rate()  # compiles
    runs = [(case.rate(), bare_rate(), noise_rate()) for _ in range(repeats)]
    apart = [
        1 / (outside / inside - case.noise * outside / noise) for inside, outside, noise in runs
    ]
    return {
        "sampler": statistics.median(inside for inside, _, _ in runs),
        "bare": statistics.median(outside for _, outside, _ in runs),
        "numbers": statistics.median(noise for _, _, noise in runs),
        "whole": statistics.median(inside / outside for inside, outside, _ in runs),
        "ratio": statistics.median(apart),
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

    return Case(log_density, rate, positions.shape[1])


def _mala(target: Target, data: Any, positions: Array, quick: bool) -> Case:
    """One gradient for each step; the difference of a long and a short run."""
    short = MALASettings(num_warmup=20, num_draws=2, thinning=50)
    long = short._replace(num_draws=4 if quick else 42)
    sample = jit_at_first_call(mala, static_argnums=(0, 1))

    def run(settings: MALASettings) -> float:
        arguments = (target, settings, jax.random.key(3), data, 1.0, positions)
        return seconds(lambda: sample(*arguments))

    def rate() -> float:
        steps = (long.num_draws - short.num_draws) * short.thinning
        before = run(short)
        return steps * len(positions) / (run(long) - before)

    return Case(_posterior(target, data), rate, positions.shape[1] + 2)


def _hmc(target: Target, data: Any, positions: Array, quick: bool) -> Case:
    """Leapfrog steps of the draws of ChEES: the difference of a long and a short run.

    The warm-up, whose steps are not counted, is the same in both and cancels.
    """
    short = ChEESSettings(num_warmup=20 if quick else 200, num_draws=5)
    results: list[Any] = []
    long = short._replace(num_draws=15 if quick else 405)
    sample = jit_at_first_call(chees, static_argnums=(0, 1))

    def rate() -> float:
        steps, taken = [], []
        for settings in (short, long):
            arguments = (target, settings, jax.random.key(3), data, 1.0, positions)
            taken.append(seconds(lambda a=arguments: results.append(sample(*a)) or results[-1]))
            steps.append(float(results[-1].num_steps) * settings.num_draws)
        return (steps[1] - steps[0]) * len(positions) / (taken[1] - taken[0])

    rate()  # says how many steps a move has
    return Case(
        _posterior(target, data), rate, (positions.shape[1] + 2) / float(results[-1].num_steps)
    )


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

    of_move = positions.shape[1] + 2
    return Case(_posterior(target, data), rate, of_move / settings.num_integration_steps)


def _tempering(target: Target, data: Any, positions: Array, quick: bool) -> Case:
    """Leapfrog steps of all replicas, and a gradient where each trajectory starts.

    As many replicas on all temperatures as the bare loop has chains.
    """
    short = ParallelTemperingSettings(
        num_temperatures=8, num_rounds=2, round_length=10, num_draws=5
    )
    long = short._replace(num_draws=10 if quick else 205)
    start = positions[: len(positions) // short.num_temperatures]
    sample = jit_at_first_call(parallel_tempering, static_argnums=(0, 1))
    of_sweep = (short.num_integration_steps + 1) * short.num_temperatures * len(start)

    def run(settings: ParallelTemperingSettings) -> float:
        arguments = (target, settings, jax.random.key(3), data, jnp.ones(1), start)
        return seconds(lambda: sample(*arguments))

    def rate() -> float:
        before = run(short)
        return (long.num_draws - short.num_draws) * of_sweep / (run(long) - before)

    of_move = positions.shape[1] + 2
    return Case(_posterior(target, data), rate, of_move / (short.num_integration_steps + 1))


def _posterior(target: Target, data: Any) -> Callable[[Array], Array]:
    return lambda w: target.log_prior(w) + target.log_likelihood(w, data)


def rows(timings: dict[str, Any]) -> list[Row]:
    """A line for each problem and sampler."""
    how = (
        f"gradients/s of the sampler over those of a bare loop, random numbers apart, "
        f"{timings['chains']} chains, float32, n = {timings['sample_size']}, median of "
        f"{timings['repeats']} alternating runs"
    )
    return [
        Row(f"{sampler}, {name}", *_measured(by_sampler[sampler]), how)
        for name in PROBLEMS
        for by_sampler in [timings["problems"].get(name, {})]
        for sampler in SAMPLERS
        if sampler in by_sampler
    ]


def _measured(rates: dict[str, float]) -> tuple[str, str, bool | None]:
    """Return the cells of a row; of older runs, whose random numbers were not measured, no aim."""
    if "numbers" not in rates:
        rate = f"{rates['sampler'] / 1e6:.3g} M/s"
        return f"{rates['ratio']:.2f} with random numbers ({rate})", "—", None
    cell = (
        f"{rates['ratio']:.2f}, {rates['whole']:.2f} with random numbers "
        f"({rates['sampler'] / 1e6:.3g} of {rates['bare'] / 1e6:.3g} M/s; "
        f"{rates['numbers'] / 1e6:.0f} M normals/s)"
    )
    return cell, f"≥ {AIM}", rates["ratio"] >= AIM
