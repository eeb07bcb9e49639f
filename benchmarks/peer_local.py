"""The local learning coefficient of y = w₁w₂²x + noise with half a million data, λ = 1/4 at 0.

The peer is the loop that a user writes: one jitted step of Langevin dynamics for each pass through
a Python loop, chain after chain, and the loss fetched at each.
"""

import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import slt_jax
from benchmarks.timing import Row, median_seconds, times
from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import simulate, statistics_of
from slt_jax.estimators import local_scan
from slt_jax.models.monomial import MonomialRegression
from slt_jax.problem import Problem
from slt_jax.run.compilation import CompilationCounter, jit_at_first_call
from slt_jax.samplers.sgld import SGLDSettings, sgld
from slt_jax.statistics import Data
from slt_jax.theory import monomial

EXPONENTS = (1, 2)
BATCH = 1000
GAMMA = 5.0
LOOP_STEP = 1e-4  # of minibatches the next power of ten leads to NaN
PEER_CHAINS = 4
STEP_SIZES = (1e-5, 2e-5)
STATISTICS = SGLDSettings(num_warmup=100_000, num_draws=1000, thinning=500)
# Steps of all data are slow: their rate is that of short runs, which no λ̂ is taken from.
SHORT = {"num_chains": 2, "num_warmup": 100, "num_draws": 10, "thinning": 10}
CHAINS, WARMUP, DRAWS, THINNING = 8, 1000, 100, 20  # the defaults of the call


def measure(quick: bool) -> dict[str, Any]:
    """Chain-steps per second of each method, and λ̂ with its error by those that are long enough."""
    n = 5000 if quick else 500_000
    model = MonomialRegression(exponents=EXPONENTS)
    problem = Problem("two_parameters", model, {"w": np.zeros(2)}, monomial(EXPONENTS))
    data = simulate(problem, jax.random.key(0), n)
    x, y = (np.asarray(leaf, np.float32).reshape(-1) for leaf in data)
    steps = 10 if quick else 1000
    methods = {
        "loop, all data": _loop(x, y, None, steps),
        "loop, minibatches": _loop(x, y, BATCH, steps),
        "statistics": _statistics(problem, data, quick),
        "call, all data": _call(x, y, None, SHORT),
    }
    settings = SHORT if quick else {}
    methods["call, minibatches"] = _call(x, y, BATCH, settings)
    coefficient = float(monomial(EXPONENTS).learning_coefficient)
    return {
        "sample_size": n, "batch_size": BATCH, "exact": coefficient,
        "at_gamma": _integral(x, y), "methods": methods,
    }  # fmt: skip


def _measured(rate: float, value: Any, standard_error: Any) -> dict[str, Any]:
    """A method's rate, and λ̂ with its error, which are None where one is not finite."""
    found = [float(value), float(standard_error)]
    value, error = found if np.all(np.isfinite(found)) else (None, None)
    return {"rate": rate, "value": value, "standard_error": error}


def _loss(w: Array, batch: tuple[Array, Array]) -> Array:
    x, y = batch
    return (y - w[0] * w[1] ** 2 * x) ** 2 / 2


def _loop(x: np.ndarray, y: np.ndarray, batch_size: int | None, steps: int) -> dict[str, Any]:
    """Time chains of a Python loop, after a few steps that compile."""
    n, beta = len(x), 1 / np.log(len(x))
    optimizer = optax.chain(optax.scale(-LOOP_STEP / 2), optax.add_noise(LOOP_STEP, 0.0, 0))

    @jax.jit
    def step(w: Array, state: Any, x: Array, y: Array) -> tuple[Array, Any, Array]:
        def objective(w: Array) -> tuple[Array, Array]:
            loss = jnp.mean(_loss(w, (x, y)))
            return n * beta * loss + GAMMA / 2 * jnp.sum(w**2), loss

        gradient, loss = jax.grad(objective, has_aux=True)(w)
        updates, state = optimizer.update(gradient, state, w)
        return optax.apply_updates(w, updates), state, loss

    whole = (jnp.asarray(x), jnp.asarray(y))

    def batches(count: int, seed: int) -> Iterator[tuple[Any, Any]]:
        rng = np.random.default_rng(seed)
        for _ in range(count):
            rows = None if batch_size is None else rng.integers(n, size=batch_size)
            yield whole if rows is None else (x[rows], y[rows])

    def chain(count: int, seed: int) -> list[float]:
        w, losses = jnp.zeros(2), []
        state = optimizer.init(w)
        state = (state[0], state[1]._replace(rng_key=jax.random.key(seed)))
        for batch in batches(count, seed):
            w, state, loss = step(w, state, *batch)
            losses.append(float(loss))
        return losses

    chain(3, 0)
    start = time.perf_counter()
    losses = np.array([chain(steps, seed) for seed in range(PEER_CHAINS)])
    taken = time.perf_counter() - start
    at_centre = float(np.mean(y.astype(float) ** 2)) / 2
    by_chain = n * beta * (losses[:, steps // 2 :].mean(axis=1) - at_centre)
    error = by_chain.std(ddof=1) / len(by_chain) ** 0.5
    return _measured(losses.size / taken, by_chain.mean(), error)


def _statistics(problem: Problem, data: Data, quick: bool) -> dict[str, Any]:
    """SGLD on the sufficient statistics of the model, which cost the same at any n."""
    target, n, chains = target_of(problem.model), len(data.y), 4 if quick else 64
    settings = STATISTICS._replace(num_warmup=10, num_draws=10) if quick else STATISTICS
    numbers = in_precision(statistics_of(problem, data), jnp.float32)
    beta, centre = 1 / np.log(n), jnp.zeros(2)
    sample = jit_at_first_call(sgld, static_argnums=(0, 1))
    run = functools.partial(
        sample, target, settings, jax.random.key(1), numbers, beta, GAMMA, centre,
        initial_positions=jnp.zeros((chains, 2)),
    )  # fmt: skip
    found = [run(step_size=size) for size in STEP_SIZES]
    taken = median_seconds(lambda: run(step_size=STEP_SIZES[0]).energies, 1 if quick else 3)
    energies, acceptance = (
        np.stack([np.asarray(getattr(one, name), float) for one in found])[None]
        for name in ("energies", "acceptance")
    )
    scan = local_scan(energies, 0.0, n, [GAMMA], STEP_SIZES, acceptance, beta)
    steps = settings.num_warmup + settings.num_draws * settings.thinning
    value, error = (scan[name][0, 0] for name in ("extrapolated", "extrapolated_se"))
    return _measured(chains * steps / taken, value, error)


def _integral(x: np.ndarray, y: np.ndarray) -> float:
    """λ̂ of these data at GAMMA without sampling: w₁ given w₂ is Gaussian, w₂ is a sum."""
    x, y, beta = x.astype(float), y.astype(float), 1 / np.log(len(x))
    square, product = beta * (x @ x), beta * (x @ y)
    w = np.linspace(-8, 8, 200_001) / np.sqrt(GAMMA)
    precision, force = square * w**4 + GAMMA, product * w**2
    log_weight = force**2 / precision / 2 - np.log(precision) / 2 - GAMMA * w**2 / 2
    weight = np.exp(log_weight - log_weight.max())
    mean = force / precision
    energy = square * w**4 * (1 / precision + mean**2) / 2 - force * mean
    return float(weight @ energy / weight.sum())


def _call(
    x: np.ndarray, y: np.ndarray, batch_size: int | None, settings: dict[str, int]
) -> dict[str, Any]:
    """``slt_jax.local_learning_coefficient`` as it is called, without what it compiles.

    Only the steps of the scan of γ and step sizes are counted, though the pilot's take time too.
    """
    with CompilationCounter() as clock:
        start = time.perf_counter()
        found = slt_jax.local_learning_coefficient(
            _loss, jnp.zeros(2), (x, y), key=jax.random.key(0), batch_size=batch_size, **settings
        )
        taken = time.perf_counter() - start - clock.seconds
    used = {
        "num_chains": CHAINS, "num_warmup": WARMUP, "num_draws": DRAWS, "thinning": THINNING
    } | settings  # fmt: skip
    steps = used["num_warmup"] + used["num_draws"] * used["thinning"]
    pairs = found.scan.sizes["localisation"] * found.scan.sizes["step"]
    value, error = found.estimate.value, found.estimate.standard_error
    return _measured(pairs * used["num_chains"] * steps / taken, value, error)


def rows(timings: dict[str, Any]) -> list[Row]:
    """Our chain-steps per second over the loop's on the same data, and both λ̂."""
    methods = timings["methods"]
    n, size = timings["sample_size"], timings["batch_size"]
    all_data, minibatches = f"all of n = {n:,} data", f"minibatches of {size}"
    short = "short runs, pilot included"
    cases = (
        ("statistics", "loop, all data", f"SGLD, {all_data} by sufficient statistics, compiled"),
        ("call, all data", "loop, all data", f"local_learning_coefficient, {all_data}, {short}"),
        ("call, minibatches", "loop, minibatches",
         f"local_learning_coefficient, {minibatches}, pilot included"),
    )  # fmt: skip
    return [
        Row(
            f"LLC of w₁w₂², {ours}",
            f"{times(methods[ours]['rate'] / methods[peer]['rate'])} "
            f"({methods[ours]['rate']:.2g}/s)",
            how=f"chain-steps/s of {how}, over {methods[peer]['rate']:,.0f}/s of a Python loop of "
            f"jitted steps; λ = {timings['exact']:g}, by integration at γ = {GAMMA:g} of the loop "
            f"and of the statistics {timings['at_gamma']:.3f}: "
            + ("" if ours == "call, all data" else f"{_found(methods[ours])}, and ")
            + f"{_found(methods[peer])} by {PEER_CHAINS} chains of the loop",
        )
        for ours, peer, how in cases
    ]


def _found(method: dict[str, Any]) -> str:
    if method["value"] is None:
        return "no λ̂ with an error"
    return f"λ̂ = {method['value']:.3f} ± {method['standard_error']:.3f}"
