"""Free energies by blackjax's adaptive tempered SMC, in a loop over n and data sets."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import simulate
from slt_jax.problem import Problem
from slt_jax.samplers.target import Target
from slt_jax.statistics import Statistics

NUM_PARTICLES = 512
NUM_MOVES = 5
NUM_INTEGRATION_STEPS = 6
ESS_FRACTION = 0.5
# The largest steps that still accept at β = 1, found by hand: the sampler does not tune its own.
STEP_SIZES = {30: 0.1, 100: 0.1, 1000: 0.05, 10_000: 0.02}
PLAIN_DATA_SETS = {100: 4, 1000: 2, 10_000: 1}


def measure(
    problem: Problem,
    key: Array,
    sizes: list[int],
    all_statistics: list[Statistics],
    exact: list[np.ndarray],
    quick: bool,
) -> dict[str, dict[str, Any]]:
    """With the plain sum over data, and with our sufficient statistics for comparison."""
    del quick
    fast = _with_statistics(problem, sizes, all_statistics, exact)
    plain = _with_data(problem, key, sizes, all_statistics, exact)
    # The same sampler on the same posterior; only the first is fast enough to be repeated.
    plain["standard_error"] = fast["standard_error"]
    return {"blackjax": plain, "blackjax, our likelihood": fast}


def _with_statistics(
    problem: Problem, sizes: list[int], all_statistics: list[Statistics], exact: list[np.ndarray]
) -> dict[str, Any]:
    """Every n and data set, twice."""
    target = target_of(problem.model)
    sample = sampler(target, target.log_likelihood)
    program, compile_seconds = None, 0.0
    spent, standard_errors, errors = [], [], []
    for n, statistics, of_oracle in zip(sizes, all_statistics, exact, strict=True):
        values, start = [], time.perf_counter()
        compiling = 0.0
        for r in range(len(of_oracle)):
            data = in_precision(jax.tree.map(lambda leaf, r=r: leaf[r], statistics), jnp.float32)
            if program is None:
                program, compiling = compiled(sample, data)
                compile_seconds += compiling
            values.append([float(program(_key(n, r, i), data, STEP_SIZES[n])) for i in range(2)])
        # Half of it, since one run of each is an estimate and the second only tells its error.
        spent.append((time.perf_counter() - start - compiling) / 2)
        by_repeat = np.array(values)
        standard_errors.append(float(np.sqrt(np.mean(np.var(by_repeat, axis=1, ddof=1)))))
        errors.append(float(np.mean(by_repeat.mean(axis=1) - of_oracle)))
    return {
        "ours": False,
        "compile_seconds": compile_seconds,
        "sampling_seconds": spent,
        "standard_error": standard_errors,
        "error": errors,
        "measured": f"in full, {NUM_PARTICLES} particles, sufficient statistics, one compilation",
    }


def _with_data(
    problem: Problem,
    key: Array,
    sizes: list[int],
    all_statistics: list[Statistics],
    exact: list[np.ndarray],
) -> dict[str, Any]:
    """The sum over data as a user writes it: some data sets, one compilation for each n."""
    target = target_of(problem.model)

    def log_likelihood(w: Array, data: Any) -> Array:
        return jnp.sum(jax.vmap(problem.model.log_likelihood, (None, 0, 0))(_named(w), *data))

    sample = sampler(target, log_likelihood)
    compile_seconds, spent, errors, counts = 0.0, [], [], []
    for n, statistics, of_oracle in zip(sizes, all_statistics, exact, strict=True):
        count = min(PLAIN_DATA_SETS.get(n, 1), len(of_oracle))
        program, differences, taken = None, [], 0.0
        for r in range(count):
            data = simulate(problem, jax.random.fold_in(key, r), n)
            data = in_precision(data, jnp.float32)
            if program is None:
                program, compiling = compiled(sample, data)
                compile_seconds += compiling
            start = time.perf_counter()
            log_evidence = float(program(_key(n, r, 0), data, STEP_SIZES[n]))
            taken += time.perf_counter() - start
            differences.append(
                log_evidence + float(statistics.log_likelihood_at_optimum[r]) - of_oracle[r]
            )
        spent.append(taken * len(of_oracle) / count)
        errors.append(float(np.mean(differences)))
        counts.append(f"{count}")
    return {
        "ours": False,
        "compile_seconds": compile_seconds,
        "sampling_seconds": spent,
        "error": errors,
        "measured": f"{NUM_PARTICLES} particles, plain sum over data, {', '.join(counts)} of the "
        "data sets by n and the rest extrapolated, one compilation for each n",
    }


def _named(w: Array) -> dict[str, Array]:
    """Both layers of the tanh net from one vector."""
    a, b = jnp.split(w, 2)
    return {"a": a, "b": b}


def _key(n: int, data_set: int, repeat: int) -> Array:
    return jax.random.fold_in(jax.random.key(1000 * repeat + data_set), n)


def compiled(sample: Callable[..., Array], data: Any) -> tuple[Any, float]:
    """Compile ``sample`` for data of this shape; also returns the seconds that it took."""
    start = time.perf_counter()
    program = jax.jit(sample).lower(jax.random.key(0), data, 0.1).compile()
    return program, time.perf_counter() - start


def sampler(target: Target, log_likelihood: Callable[[Array, Any], Array]) -> Callable[..., Array]:
    """−log Z by the loop of blackjax's manual, with the data as an argument."""
    import blackjax

    def sample(key: Array, data: Any, step_size: Array) -> Array:
        prior_key, key = jax.random.split(key)
        particles = jax.vmap(target.sample_prior)(jax.random.split(prior_key, NUM_PARTICLES))
        parameters = {
            "step_size": jnp.reshape(step_size, 1),
            "inverse_mass_matrix": jnp.ones((1, particles.shape[1])),
            "num_integration_steps": jnp.full(1, NUM_INTEGRATION_STEPS),
        }
        smc = blackjax.adaptive_tempered_smc(
            target.log_prior, lambda w: log_likelihood(w, data), blackjax.hmc.build_kernel(),
            blackjax.hmc.init, parameters, blackjax.smc.resampling.systematic, ESS_FRACTION,
            num_mcmc_steps=NUM_MOVES,
        )  # fmt: skip

        def advance(carry: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
            state, key, log_evidence = carry
            key, step_key = jax.random.split(key)
            state, info = smc.step(step_key, state)
            return state, key, log_evidence + info.log_likelihood_increment

        def unfinished(carry: tuple[Any, Array, Array]) -> Array:
            return carry[0].tempering_param < 1

        start = smc.init(particles)._replace(tempering_param=jnp.zeros(()))
        return -jax.lax.while_loop(unfinished, advance, (start, key, jnp.zeros(())))[2]

    return sample
