"""Effective draws of a posterior by our samplers, numpyro's NUTS and blackjax's MCLMC.

Effective draws are those of the energy nL_n(w), all by one estimator; warm-up is in the time and
compiling is not.
"""

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks import samplers
from benchmarks.samplers import Measured
from benchmarks.timing import Row, times
from slt_jax.curves.jobs import ravelled
from slt_jax.data import simulate
from slt_jax.models import named_problems
from slt_jax.run.compilation import CompilationCounter
from slt_jax.samplers.nuts import NUTSSettings
from slt_jax.samplers.target import Target

SAMPLE_SIZE = 1000
CHAINS = 32
DRAWS = 100
PROBLEMS = ("monomial_1_1", "tanh_2_teacher_1")
REPEATS = 3
# The best of these, by effective draws per second, is what MCLMC is compared with.
CANDIDATES = ("SMC", "ChEES-HMC", "MALA")
MCLMC_STEPS = 4000
GRADIENTS_PER_STEP = 2  # of the integrator of McLachlan, blackjax's default


def measure(quick: bool) -> dict[str, Any]:
    """Rates of both comparisons by problem, and how far each energy is from the oracle's."""
    names = PROBLEMS[:1] if quick else PROBLEMS
    return {
        "sample_size": SAMPLE_SIZE,
        "chains": 4 if quick else CHAINS,
        "draws": 20 if quick else DRAWS,
        "mclmc_chains": samplers.CHAINS,
        "mclmc_steps": 100 if quick else MCLMC_STEPS,
        "nuts": {name: _nuts(name, quick) for name in names},
        "mclmc": {} if quick else {name: _mclmc(name) for name in names},
    }


def _compared(
    runs: Mapping[str, Callable[[], Measured]], exact: float, repeats: int
) -> dict[str, dict[str, float]]:
    """Medians of alternating runs without what they compile; the draws are those of the last.

    A second run of numpyro's NUTS compiles again.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, Measured] = {}
    for _ in range(repeats):
        for name, run in runs.items():
            with CompilationCounter() as clock:
                start = time.perf_counter()
                found[name] = run()
                elapsed = time.perf_counter() - start
            taken[name].append(elapsed - clock.seconds)
    table = {}
    for name, measured in found.items():
        mean, error, draws = samplers.effective_draws(measured)
        table[name] = {
            "draws_per_second": draws / statistics.median(taken[name]),
            "draws_per_gradient": draws / measured.gradients,
            "z_score": (mean - exact) / error,
        }
    return table


def _nuts(name: str, quick: bool) -> dict[str, dict[str, float]]:
    """NUTS of ours, and of numpyro with a model and all data, and with our likelihood."""
    target, data, _, exact = samplers.case(name, SAMPLE_SIZE)
    chains, draws = (4, 20) if quick else (CHAINS, DRAWS)
    starts = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(4), chains))
    settings = NUTSSettings(num_warmup=draws, num_draws=draws)

    def ours() -> Measured:
        run = samplers.run_nuts(target, settings, jax.random.key(1), data, 1.0, starts)
        gradients = float(jnp.sum(run.num_steps)) * 2 * draws
        return Measured(np.asarray(run.energies), np.asarray(run.positions[:, -1]), gradients)

    def potential(w: Array) -> Array:
        return -target.log_prior(w) - target.log_likelihood(w, data)

    runs: dict[str, Callable[[], Measured]] = {
        "ours": ours,
        "our likelihood": _numpyro(name, chains, draws, starts, potential),
        "its own model": _numpyro(name, chains, draws, None, None),
    }
    ours()  # compiles
    return _compared(runs, exact, 1 if quick else 2)


def _numpyro(
    name: str,
    chains: int,
    draws: int,
    starts: Array | None,
    potential: Callable[[Array], Array] | None,
) -> Callable[[], Measured]:
    """The four lines of the manual on vectorised chains."""
    from numpyro.infer import MCMC, NUTS

    problem = named_problems()[name]
    target, statistics_, _, _ = samplers.case(name, SAMPLE_SIZE)
    data = simulate(problem, jax.random.fold_in(jax.random.key(3), 0), SAMPLE_SIZE)
    x, y = (jnp.asarray(np.asarray(leaf).reshape(-1), jnp.float32) for leaf in data)
    kernel = NUTS(MODELS[name]) if potential is None else NUTS(potential_fn=potential)
    mcmc = MCMC(
        kernel, num_warmup=draws, num_samples=draws, num_chains=chains,
        chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    energies = jax.jit(jax.vmap(jax.vmap(lambda w: -target.log_likelihood(w, statistics_))))
    flat = jax.jit(jax.vmap(jax.vmap(functools.partial(ravelled, problem.model))))
    arguments = (x, y) if potential is None else ()

    def run() -> Measured:
        mcmc.run(
            jax.random.key(1), *arguments, init_params=starts, extra_fields=("num_steps",)
        )  # fmt: skip
        positions = mcmc.get_samples(group_by_chain=True)
        positions = positions if potential is not None else flat(positions)
        # Trees of the warm-up are taken to be as long as those of the draws.
        gradients = 2 * float(jnp.sum(mcmc.get_extra_fields()["num_steps"]))
        return Measured(np.asarray(energies(positions)), np.asarray(positions[:, -1]), gradients)

    return run


def _monomial(x: Array, y: Array) -> None:
    import numpyro
    import numpyro.distributions as dist

    w = numpyro.sample("w", dist.Normal(0, 1).expand([2]).to_event(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(w[0] * w[1] * x, 1.0), obs=y)


def _tanh(x: Array, y: Array) -> None:
    import numpyro
    import numpyro.distributions as dist

    a = numpyro.sample("a", dist.Normal(0, 1).expand([2]).to_event(1))
    b = numpyro.sample("b", dist.Normal(0, 1).expand([2]).to_event(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(jnp.tanh(x[:, None] * b) @ a, 1.0), obs=y)


MODELS = {"monomial_1_1": _monomial, "tanh_2_teacher_1": _tanh}


def _mclmc(name: str) -> dict[str, dict[str, float]]:
    """blackjax's MCLMC beside the candidates of ours, all on our likelihood."""
    target, data, starts, exact = samplers.case(name, SAMPLE_SIZE)
    peer = _mclmc_program(target)
    runs: dict[str, Callable[[], Measured]] = {
        candidate: functools.partial(
            samplers.SAMPLERS[candidate], target, data, starts, SAMPLE_SIZE
        )
        for candidate in CANDIDATES
    }

    def blackjax_mclmc() -> Measured:
        energies, ends, tuning = peer(jax.random.key(1), data, starts)
        steps = int(tuning) + len(starts) * MCLMC_STEPS
        return Measured(np.asarray(energies), np.asarray(ends), GRADIENTS_PER_STEP * steps)

    runs["peer"] = blackjax_mclmc
    for run in runs.values():  # compiles
        run()
    return _compared(runs, exact, REPEATS)


def _mclmc_program(target: Target) -> Callable[..., Any]:
    """One chain tunes step and decoherence length; all run with them, and drop a fifth."""
    from blackjax import mclmc_find_L_and_step_size
    from blackjax.mcmc import mclmc

    def sample(key: Array, data: Any, starts: Array) -> tuple[Array, Array, Array]:
        def log_density(w: Array) -> Array:
            return target.log_prior(w) + target.log_likelihood(w, data)

        tune_key, start_key, walk_key = jax.random.split(key, 3)
        kernel = mclmc.build_kernel()
        start_keys = jax.random.split(start_key, len(starts))
        states = jax.vmap(lambda w, k: mclmc.init(w, log_density, k))(starts, start_keys)
        first = jax.tree.map(lambda leaf: leaf[0], states)
        _, tuned, tuning = mclmc_find_L_and_step_size(
            mclmc_kernel=kernel, num_steps=MCLMC_STEPS, state=first, rng_key=tune_key,
            logdensity_fn=log_density,
        )  # fmt: skip

        def walk(states: Any, step_key: Array) -> tuple[Any, Array]:
            def move(step_key: Array, state: Any) -> Any:
                return kernel(
                    step_key, state, log_density, tuned.inverse_mass_matrix, tuned.L,
                    tuned.step_size,
                )[0]  # fmt: skip

            states = jax.vmap(move)(jax.random.split(step_key, len(starts)), states)
            prior = jax.vmap(target.log_prior)(states.position)
            return states, prior - states.logdensity

        keys = jax.random.split(walk_key, MCLMC_STEPS)
        ends, energies = jax.lax.scan(walk, states, keys)
        return energies[MCLMC_STEPS // 5 :].T, ends.position, jnp.asarray(tuning)

    return jax.jit(sample)


def rows(timings: dict[str, Any]) -> list[Row]:
    """Our effective draws over those of the peers, per second and per gradient."""
    table = []
    for name in (name for name in PROBLEMS if name in timings["nuts"]):
        rates = timings["nuts"][name]
        ours = rates["ours"]
        for peer in ("its own model", "our likelihood"):
            ratio = ours["draws_per_second"] / rates[peer]["draws_per_second"]
            table.append(
                Row(
                    f"numpyro NUTS, {peer}, {name}", times(ratio),
                    how=f"our effective draws of NUTS per second over the peer's: "
                    f"{_rate(ours)}, and {_rate(rates[peer])}; {timings['chains']} vectorised "
                    f"chains of {timings['draws']} + {timings['draws']} draws, "
                    f"n = {timings['sample_size']}, compiled, alternating",
                )
            )  # fmt: skip
    for name in (name for name in PROBLEMS if name in timings["mclmc"]):
        rates = timings["mclmc"][name]
        best = max(CANDIDATES, key=lambda one: rates[one]["draws_per_second"])
        ours, theirs = rates[best], rates["peer"]
        by_second = ours["draws_per_second"] / theirs["draws_per_second"]
        by_gradient = ours["draws_per_gradient"] / theirs["draws_per_gradient"]
        table.append(
            Row(
                f"blackjax MCLMC, {name}",
                f"{times(by_second)} per second, {times(by_gradient)} per gradient",
                how=f"effective draws of {best}, the best of {', '.join(CANDIDATES)}, over those "
                f"of MCLMC with its own tuning: {_rate(ours)}, and {_rate(theirs)}; "
                f"{timings['mclmc_chains']} chains of {timings['mclmc_steps']} steps, a fifth "
                "dropped; our likelihood, compiled, alternating",
            )
        )
    return table


def _rate(rates: Mapping[str, float]) -> str:
    return (
        f"{rates['draws_per_second']:,.0f}/s (mean energy {rates['z_score']:+.1f} standard errors "
        "from the oracle's)"
    )
