"""A guide to samplers: python -m benchmarks.samplers measures all and writes docs/samplers.md."""

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import statistics_along_n
from slt_jax.estimators.diagnostics import mean_and_standard_error, nested_r_hat, r_hat
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.run.store import replace_file
from slt_jax.samplers.chees import ChEESSettings, chees
from slt_jax.samplers.mala import MALASettings, mala
from slt_jax.samplers.microcanonical import MicrocanonicalSettings, microcanonical
from slt_jax.samplers.nuts import NUTSSettings, nuts
from slt_jax.samplers.sgld import SGLDSettings, sgld
from slt_jax.samplers.smc import SMCSettings, num_gradients, tempered_smc
from slt_jax.samplers.target import Target
from slt_jax.samplers.tempering import ParallelTemperingSettings, parallel_tempering

PAGE = Path(__file__).parents[1] / "docs" / "samplers.md"
CASES = (
    ("linear_3", 100),
    ("monomial_1_1", 100),
    ("monomial_1_1", 1000),
    ("reduced_rank_2_2_1_0", 1000),
    ("tanh_2_teacher_1", 1000),
)
CHAINS = 32
RUNS = 16
SMC = SMCSettings()
CHEES = ChEESSettings(num_warmup=300, num_draws=200)
NUTS = NUTSSettings(num_warmup=200, num_draws=200, max_tree_depth=8)
MALA = MALASettings(num_warmup=1000, num_draws=200)
MICROCANONICAL = MicrocanonicalSettings(num_warmup=300, num_draws=200)
LADDER = ParallelTemperingSettings(num_temperatures=12, num_rounds=8, round_length=40)
SGLD = SGLDSettings(num_warmup=5000, num_draws=200, thinning=100, with_prior=True)
# A step that MALA would accept nine times out of ten.
SGLD_STEP = 0.3
HEAD = """# Which sampler where

Written by `python -m benchmarks.samplers`, from one data set of each problem at β = 1, one core.
"""


class Measured(NamedTuple):
    """Draws [chain, draw] of nL_n(w) − nL_n(w₀), where chains ended, and the gradients taken.

    ``independent`` chains are the runs of SMC, whose draws have no order in time.
    """

    energies: np.ndarray
    ends: np.ndarray
    gradients: float
    independent: bool = False


Run = Callable[[Target, Any, Array, int], Measured]


def by_smc(target: Target, data: Any, starts: Array, n: int) -> Measured:
    keys = jax.random.split(jax.random.key(1), RUNS)
    run = jax.tree.map(np.asarray, run_smc(target, SMC, keys, data, jnp.ones(1), jnp.asarray(0.4)))
    return Measured(
        run.node_energies[:, 0].reshape(RUNS, -1),
        run.node_positions[:, 0].reshape(-1, starts.shape[1]),
        num_gradients(SMC, run),
        independent=True,
    )


def by_chees(target: Target, data: Any, starts: Array, n: int) -> Measured:
    run = run_chees(target, CHEES, jax.random.key(1), data, 1.0, starts)
    draws = CHEES.num_warmup + CHEES.num_draws
    gradients = float(run.num_steps) * draws * CHAINS
    return Measured(np.asarray(run.energies), np.asarray(run.positions), gradients)


def by_nuts(target: Target, data: Any, starts: Array, n: int) -> Measured:
    run = run_nuts(target, NUTS, jax.random.key(1), data, 1.0, starts)
    draws = NUTS.num_warmup + NUTS.num_draws
    gradients = float(jnp.sum(run.num_steps)) * draws
    return Measured(np.asarray(run.energies), np.asarray(run.positions[:, -1]), gradients)


def by_mala(target: Target, data: Any, starts: Array, n: int) -> Measured:
    run = run_mala(target, MALA, jax.random.key(1), data, 1.0, starts)
    gradients = (MALA.num_warmup + MALA.num_draws * MALA.thinning) * CHAINS
    return Measured(np.asarray(run.energies), np.asarray(run.positions), gradients)


def by_microcanonical(target: Target, data: Any, starts: Array, n: int) -> Measured:
    run = run_microcanonical(target, MICROCANONICAL, jax.random.key(1), data, 1.0, starts)
    steps = float(run.num_warmup_steps + run.num_steps * MICROCANONICAL.num_draws)
    return Measured(np.asarray(run.energies), np.asarray(run.positions), steps * CHAINS)


def by_ladder(target: Target, data: Any, starts: Array, n: int) -> Measured:
    run = run_ladder(target, LADDER, jax.random.key(1), data, jnp.ones(1), starts)
    sweeps = LADDER.num_rounds * LADDER.round_length + LADDER.num_draws
    gradients = sweeps * LADDER.num_temperatures * (LADDER.num_integration_steps + 1) * CHAINS
    return Measured(np.asarray(run.energies[-1]), np.asarray(run.positions[-1]), gradients)


def by_sgld(target: Target, data: Any, starts: Array, n: int) -> Measured:
    centre = jnp.zeros(starts.shape[1])
    run = run_sgld(target, SGLD, jax.random.key(1), data, 1.0, 0.0, centre, SGLD_STEP / n, starts)
    gradients = (SGLD.num_warmup + SGLD.num_draws * SGLD.thinning) * CHAINS
    return Measured(np.asarray(run.energies), np.asarray(run.positions), gradients)


run_smc = jit_at_first_call(tempered_smc, static_argnums=(0, 1))
run_chees = jit_at_first_call(chees, static_argnums=(0, 1))
run_nuts = jit_at_first_call(nuts, static_argnums=(0, 1))
run_mala = jit_at_first_call(mala, static_argnums=(0, 1))
run_microcanonical = jit_at_first_call(microcanonical, static_argnums=(0, 1))
run_ladder = jit_at_first_call(parallel_tempering, static_argnums=(0, 1))
run_sgld = jit_at_first_call(sgld, static_argnums=(0, 1))

SAMPLERS: dict[str, Run] = {
    "SMC": by_smc,
    "parallel tempering": by_ladder,
    "ChEES-HMC": by_chees,
    "NUTS": by_nuts,
    "MALA": by_mala,
    "microcanonical": by_microcanonical,
    f"SGLD, step {SGLD_STEP:g}/n": by_sgld,
}


def mirror_images(ends: np.ndarray) -> int:
    """The number of the four images of a one-unit teacher that are among w = (a₁, a₂, b₁, b₂)."""
    a, b = ends[:, :2], ends[:, 2:]
    unit = np.argmax(np.abs(a * b), axis=1)
    sign = np.sign(np.take_along_axis(b, unit[:, None], axis=1)[:, 0])
    return len(set(zip(unit.tolist(), sign.tolist(), strict=True)))


@functools.cache
def case(name: str, n: int) -> tuple[Target, Any, Array, float]:
    """Target, data, starts from the prior and the exact E_w[nL_n] − nL_n(w₀)."""
    problem = named_problems()[name]
    target = target_of(problem.model)
    statistics = statistics_along_n(problem, jax.random.key(3), 1, (n,))[0]
    oracle = oracle_for(problem)
    assert oracle is not None
    exact = float(oracle.moments(statistics).excess_energy.value[0])
    one = in_precision(jax.tree.map(lambda leaf: leaf[0], statistics), jnp.float32)
    starts = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(4), CHAINS))
    return target, one, starts, exact


def effective_draws(measured: Measured) -> tuple[float, float, float]:
    """Mean energy with its standard error, in nats, and the effective number of draws."""
    energies = measured.energies.astype(float)
    if measured.independent:
        means = energies.mean(axis=1)
        mean, error = means.mean(), means.std(ddof=1) / np.sqrt(len(means))
    else:
        mean, error = mean_and_standard_error(energies)
    return float(mean), float(error), float(np.var(energies) / error**2)


def row(name: str, n: int, sampler: str) -> str:
    """A line of the table; the second run is timed, since the first one compiles."""
    target, data, starts, exact = case(name, n)
    run = SAMPLERS[sampler]
    run(target, data, starts, n)
    begin = time.process_time()
    measured = run(target, data, starts, n)
    seconds = time.process_time() - begin
    energies = measured.energies.astype(float)
    mean, error, ess = effective_draws(measured)
    agreement = nested_r_hat(energies[:, None]) if measured.independent else r_hat(energies)
    cells = [
        name,
        str(n),
        sampler,
        f"{ess / seconds:,.0f}",
        f"{1e3 * ess / measured.gradients:.2f}",
        f"{error:.3f}",
        f"{(mean - exact) / error:+.1f}",
        f"{float(agreement):.2f}",
        f"{mirror_images(measured.ends)} of 4" if name == "tanh_2_teacher_1" else "—",
    ]
    return f"| {' | '.join(cells)} |\n"


COLUMNS = (
    "| problem | n | sampler | ESS/s | ESS per 1000 gradients | s.e. | error/s.e. | R̂ | modes |\n"
    "|---|---:|---|---:|---:|---:|---:|---:|---:|\n"
)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE, help="file to write")
    out: Path = parser.parse_args(arguments).out
    table = COLUMNS
    for name, n in CASES:
        for sampler in SAMPLERS:
            table += row(name, n, sampler)
            print(table.splitlines()[-1], flush=True)
    with replace_file(out) as temporary:
        temporary.write_text(HEAD + "\n" + table + "\n" + ADVICE, "utf-8")


ADVICE = """Chains start from the prior, warm-up is in the seconds and in the gradients
(of SMC all temperatures), compiling is not. `s.e.` is that of E_w[nL_n], in nats; `error/s.e.` is
against the oracle; `modes` are the mirror images of the teacher in which chains ended. R̂ of SMC
compares its runs.

- SMC needs no starts and gives the evidence too; it was within two errors everywhere.
- Parallel tempering spends most on one draw at β = 1, and has draws at all the other temperatures.
- Microcanonical chains had the most draws from a gradient on the regular model and on the net, of
  all chains the most in a second on the net, and R̂ ≤ 1.01 everywhere: the first to try where the
  evidence is not wanted.
- ChEES-HMC had the most draws from a gradient on the ridges, but the largest R̂ on the net: look at
  R̂ before its error bars.
- MALA is the simplest chain, as fast where the posterior is regular, and slow to mix on the net.
- NUTS tunes each chain by itself and takes few gradients, each with a tree to look after.
- SGLD is off by its step: up to six errors with so many draws. `draw_posterior` gives it a step in
  units of one that it measures, and draws with twice the step that put the bias into the error.
"""

if __name__ == "__main__":
    main()
