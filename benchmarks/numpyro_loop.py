"""Free energies by numpyro's NUTS and thermodynamic integration, as a user would write it."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.data import simulate
from slt_jax.problem import Problem
from slt_jax.statistics import Statistics

NUM_CHAINS = 4
INTERVALS = 8
POWER = 4
WHOLE = tuple(range(INTERVALS + 1))
# n: (which β of the ladder, how many draws); the rest is extrapolated linearly.
SUBSETS = {100: (WHOLE, 200), 1000: ((4, 8), 60), 10_000: ((4, 8), 10)}
QUICK_SUBSETS = {30: (WHOLE, 20), 100: ((8,), 10)}


def measure(
    problem: Problem,
    key: Array,
    sizes: list[int],
    all_statistics: list[Statistics],
    exact: list[np.ndarray],
    quick: bool,
) -> dict[str, dict[str, Any]]:
    """NUTS on a ladder β = (k/8)⁴, one compilation for each n, β and data set.

    The whole ladder of one data set is run at the smallest n, and gives the standard error and
    the comparison with the oracle; larger n get some β and shorter chains.
    """
    data_sets = len(exact[0])
    subsets = QUICK_SUBSETS if quick else SUBSETS
    num_draws = subsets[sizes[0]][1]
    compile_seconds, spent = 0.0, []
    standard_error = error = 0.0
    words = []
    for n, statistics in zip(sizes, all_statistics, strict=True):
        levels, draws = subsets[n]
        x, y = (np.asarray(v, np.float32) for v in simulate(problem, jax.random.fold_in(key, 0), n))
        # The second, since the first also starts what any later run shares.
        compiling = [_run(x, y, 1.0, 1)[1] for _ in range(2)][1]
        taken, energies = 0.0, []
        for level in levels:
            energy, elapsed = _run(x, y, (level / INTERVALS) ** POWER, draws)
            taken += max(0.0, elapsed - compiling)
            energies.append(energy + float(statistics.log_likelihood_at_optimum[0]))
        runs = (INTERVALS + 1) * data_sets
        compile_seconds += runs * compiling
        spent.append(taken * runs / len(levels) * num_draws / draws)
        words.append(f"{len(levels)} β × {draws} + {draws} draws at n = {n}")
        if levels == WHOLE:
            by_chain = _integrate(np.stack(energies))
            standard_error = float(np.std(by_chain, ddof=1) / np.sqrt(NUM_CHAINS))
            error = float(np.mean(by_chain) - exact[0][0])
    timings = {
        "ours": False,
        "compile_seconds": compile_seconds,
        "sampling_seconds": spent,
        "standard_error": [standard_error] * len(sizes),
        "error": [error] + [None] * (len(sizes) - 1),
        "measured": f"{INTERVALS + 1} β × {NUM_CHAINS} chains × {num_draws} + {num_draws} draws "
        f"of NUTS, extrapolated from one data set with {', '.join(words)}; standard error of "
        f"n = {sizes[0]} taken for all n",
    }
    return {"numpyro": timings}


def _run(x: np.ndarray, y: np.ndarray, beta: float, draws: int) -> tuple[np.ndarray, float]:
    """−Σ log p(y|x, w) in total nats [chain, draw], and the wall time in seconds."""
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    def model(x: Array, y: Array, beta: float) -> None:
        a = numpyro.sample("a", dist.Normal(0, 1).expand([3]).to_event(1))
        b = numpyro.sample("b", dist.Normal(0, 1).expand([3]).to_event(1))
        with numpyro.handlers.scale(scale=beta), numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(jnp.tanh(x[:, None] * b) @ a, 1.0), obs=y[:, 0])

    start = time.perf_counter()
    mcmc = MCMC(
        NUTS(model), num_warmup=draws, num_samples=draws, num_chains=NUM_CHAINS,
        chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    mcmc.run(jax.random.key(0), x, y, max(beta, 1e-30))
    samples = jax.tree.map(np.asarray, mcmc.get_samples(group_by_chain=True))
    elapsed = time.perf_counter() - start
    energies = np.empty((NUM_CHAINS, draws))
    for index in np.ndindex(energies.shape):
        fitted = np.tanh(x[:, None] * samples["b"][index]) @ samples["a"][index]
        energies[index] = np.sum((y[:, 0] - fitted) ** 2 + np.log(2 * np.pi)) / 2
    return energies, elapsed


def _integrate(energies: np.ndarray) -> np.ndarray:
    """∫₀¹ E_β dβ of energies [β, chain, draw] for each chain, by the corrected trapezium rule.

    Source: Friel, Hurn & Wyse, Improving power posterior estimation, 2014: the derivative of
    the mean energy is minus its variance.
    """
    betas = (np.arange(INTERVALS + 1) / INTERVALS) ** POWER
    widths = np.diff(betas)[:, None]
    mean, variance = energies.mean(axis=2), energies.var(axis=2)
    trapezia = widths * (mean[1:] + mean[:-1]) / 2
    return np.sum(trapezia - widths**2 / 12 * (variance[:-1] - variance[1:]), axis=0)
