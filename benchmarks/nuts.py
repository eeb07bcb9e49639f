"""Draws per second of our NUTS over those of numpyro's, whose chains wait under ``vmap``."""

import statistics
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.infer.hmc import hmc

from benchmarks.timing import Row, seconds
from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import statistics_along_n
from slt_jax.estimators.diagnostics import effective_sample_size
from slt_jax.models import named_problems
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.nuts import NUTSSettings, nuts
from slt_jax.samplers.target import Target


class Case(NamedTuple):
    """A problem with one data set of n, so many chains and draws, and the ratio to be reached."""

    problem: str
    sample_size: int
    chains: int
    num_warmup: int
    num_draws: int
    aim: float


# Below 1 the aim is not to be slower, up to the noise of a ratio.
CASES = (
    Case("monomial_1_1", 100, 4, 200, 1000, 0.9),
    Case("monomial_1_1", 100, 64, 200, 400, 0.9),
    Case("monomial_1_1", 100, 4096, 100, 50, 4.0),
    Case("tanh_2_teacher_1", 1000, 4, 100, 50, 0.9),
    Case("tanh_2_teacher_1", 1000, 64, 50, 25, 0.9),
    Case("tanh_2_teacher_1", 1000, 1024, 15, 10, 1.5),
)
QUICK = (Case("monomial_1_1", 100, 4, 10, 10, 0.9),)


def measure(quick: bool, repeats: int = 3) -> dict[str, Any]:
    """For each case: seconds and effective draws per second of both, and the ratio."""
    cases = QUICK if quick else CASES
    repeats = 1 if quick else repeats
    return {"repeats": repeats, "cases": [_compare(case, repeats) for case in cases]}


def _compare(case: Case, repeats: int) -> dict[str, Any]:
    """Medians of alternating runs, and of the ratio of effective draws/s of neighbours."""
    problem = named_problems()[case.problem]
    data = statistics_along_n(problem, jax.random.key(0), 1, [case.sample_size])[0]
    data = in_precision(jax.tree.map(lambda leaf: leaf[0], data), jnp.float32)
    target = target_of(problem.model)
    starts = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(1), case.chains))
    settings = NUTSSettings(case.num_warmup, case.num_draws)
    samplers = {
        "ours": jit_at_first_call(_ours, static_argnums=(0, 1)),
        "numpyro": jit_at_first_call(_numpyros, static_argnums=(0, 1)),
    }

    def run(name: str, into: list[Array]) -> Array:
        into.append(samplers[name](target, settings, jax.random.key(2), data, starts))
        return into[-1]

    first = {name: seconds(partial(run, name, [])) for name in samplers}
    energies: dict[str, list[Array]] = {name: [] for name in samplers}
    pairs = [
        {name: seconds(partial(run, name, energies[name])) for name in samplers}
        for _ in range(repeats)
    ]
    # The effective draws are those of both: their algorithm is one, and what differs is rounding.
    effective = statistics.mean(
        float(effective_sample_size(each[0].astype(float))) for each in energies.values()
    )
    median = {name: statistics.median(pair[name] for pair in pairs) for name in samplers}
    return {
        **case._asdict(),
        "seconds": median,
        "effective_draws": effective,
        "compile_seconds": {name: first[name] - median[name] for name in samplers},
        "ratio": statistics.median(pair["numpyro"] / pair["ours"] for pair in pairs),
    }


def _ours(target: Target, settings: NUTSSettings, key: Array, data: Any, starts: Array) -> Array:
    return nuts(target, settings, key, data, 1.0, starts).energies


def _numpyros(
    target: Target, settings: NUTSSettings, key: Array, data: Any, starts: Array
) -> Array:
    def potential(w: Array) -> Array:
        return -(target.log_prior(w) + target.log_likelihood(w, data))

    def chain(key: Array, w: Array) -> Array:
        init, kernel = hmc(potential, algo="NUTS")
        state = init(w, settings.num_warmup, rng_key=key)

        def draw(state: Any, _: None) -> tuple[Any, Array]:
            state = kernel(state)
            return state, -target.log_likelihood(state.z, data)

        length = settings.num_warmup + settings.num_draws
        return jax.lax.scan(draw, state, length=length)[1][settings.num_warmup :]

    return jax.vmap(chain)(jax.random.split(key, len(starts)), starts)


def rows(timings: dict[str, Any]) -> list[Row]:
    """A line for each case."""
    return [
        Row(
            f"NUTS, {case['problem']}, {case['chains']} chains",
            f"{case['ratio']:.2f}× ({_rate(case):,.0f} effective draws/s)",
            f"≥ {case['aim']:g}×",
            case["ratio"] >= case["aim"],
            f"numpyro's time over ours, vmapped, {case['num_warmup']} + {case['num_draws']} draws, "
            f"n = {case['sample_size']}, median of {timings['repeats']} alternating pairs; "
            f"{case['compile_seconds']['ours']:.1f} s to compile, numpyro's "
            f"{case['compile_seconds']['numpyro']:.1f} s",
        )
        for case in timings["cases"]
    ]


def _rate(case: dict[str, Any]) -> float:
    return float(case["effective_draws"] / case["seconds"]["ours"])
