"""What no answer may depend on: the order of data and of exchangeable parameters, and units."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.curves.jobs import (
    batch_keys,
    in_precision,
    smc_jobs,
    target_of,
    temperature_nodes,
)
from slt_jax.data import simulate, statistics_of
from slt_jax.estimators import mean_over_seeds, wbic_coefficient
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Data

pytestmark = pytest.mark.slow

N = 100
RUNS = 16
ERRORS = 5.0
SCALE = 7.0
SMC = SMCSettings()
GROUPS = ("data", "parameters", "units")
COLUMNS = ("what is changed", "problem", "quantity", "exact change", "sampled change")
TEXT = f"""## Invariances

The exact change is the oracle's, or that of the density at 1000 draws of the prior, and is
rounding. The sampled one is between {RUNS} runs of SMC before and after, with other keys, and must
be below {ERRORS:g} standard errors: 12 comparisons, 7e-6 false alarms. Units: y, noise and prior
are rescaled by {SCALE:g} together, which leaves λ̂ as it was.
"""


def sampled(problem: Problem, data: Data, seed: int):
    """Free energies and λ̂ by WBIC of the runs, relative to w₀."""
    statistics = jax.tree.map(lambda leaf: leaf[None], statistics_of(problem, data))
    keys = batch_keys(jax.random.key(seed), N, 1, RUNS)
    runs, _ = smc_jobs(
        target_of(problem.model), SMC, jnp.float32(0.4), np.asarray(jax.random.key_data(keys)),
        in_precision(statistics, jnp.float32),
        np.asarray(temperature_nodes(N), np.float32)[None],
    )  # fmt: skip
    energies = np.asarray(runs.node_energies[0, :, 0], float).mean(axis=(-1, -2))
    return mean_over_seeds(-runs.log_evidence[0]), wbic_coefficient(energies, N)


def exact(problem: Problem, data: Data):
    """The same by the oracle."""
    statistics, beta = statistics_of(problem, data), 1 / math.log(N)
    oracle = oracle_for(problem)
    return (
        float(oracle.moments(statistics).normalised_free_energy.value),
        float(oracle.moments(statistics, beta).excess_energy.value) * beta,
    )


def changes(what: str, name: str, before, after) -> list[list[str]]:
    """A row for F and for λ̂; ``before`` and ``after`` are (problem, data)."""
    rows = []
    sampled_pairs = zip(sampled(*before, seed=1), sampled(*after, seed=2), strict=True)
    exact_pairs = zip(exact(*before), exact(*after), strict=True)
    for label, (first, second), (was, now) in zip(
        ("F_n − nL_n(w₀)", "λ̂ by WBIC"), sampled_pairs, exact_pairs, strict=True
    ):
        error = float(np.hypot(first.standard_error, second.standard_error))
        change = float(second.value - first.value)
        assert abs(now - was) < 1e-8, (what, name, label)
        assert abs(change) < ERRORS * error, (what, name, label)
        rows.append([what, name, label, f"{abs(now - was):.0e}", f"{change:+.4f} ± {error:.4f}"])
    return rows


def test_the_order_of_data(record):
    rows = []
    for name in ("monomial_1_1", "tanh_2"):
        problem = named_problems()[name]
        data = simulate(problem, jax.random.key(8), N)
        order = np.random.default_rng(0).permutation(N)
        permuted = Data(np.asarray(data.x)[order], np.asarray(data.y)[order])
        rows += changes("order of data", name, (problem, data), (problem, permuted))
    record("invariances", TEXT, COLUMNS, GROUPS, "data", rows)


def test_the_order_and_signs_of_exchangeable_parameters(record):
    """Hidden units of a tanh net, and the signs of both its weights: prior and likelihood."""
    rows = []
    for name in ("tanh_3", "tanh_2_teacher_1"):
        problem = named_problems()[name]
        data = simulate(problem, jax.random.key(8), N)
        statistics = statistics_of(problem, data)
        with jax.enable_x64(True):
            w = jax.vmap(problem.model.sample_prior)(jax.random.split(jax.random.key(9), 1000))
            order = np.roll(np.arange(problem.model.hidden_dim), 1)
            changed = {key: -leaf[:, order] for key, leaf in w.items()}
            before, after = (
                np.stack(
                    [
                        jax.vmap(problem.model.log_prior)(params),
                        jax.vmap(problem.model.log_likelihood_ratio, (0, None))(params, statistics),
                    ],
                    axis=1,
                )
                for params in (w, changed)
            )
        gap = np.abs(after - before) / (1 + np.abs(before))
        assert gap.max() < 1e-9
        for i, label in enumerate(("log φ(w)", "nL_n(w)")):
            rows.append(["units and signs", name, label, f"{gap[:, i].max():.0e}", "none"])
    record("invariances", TEXT, COLUMNS, GROUPS, "parameters", rows)


def test_units(record):
    """σ, y and the prior of what is linear in y times a constant: λ̂ is the same."""
    rows = []
    for name, power in (("linear_3", 1.0), ("monomial_1_1", 0.5)):
        problem = named_problems()[name]
        data = simulate(problem, jax.random.key(8), N)
        model = dataclasses.replace(problem.model, noise=SCALE, prior_scale=SCALE**power)
        rescaled = dataclasses.replace(
            problem,
            model=model,
            optimum={key: SCALE**power * leaf for key, leaf in problem.optimum.items()},
        )
        moved = Data(data.x, SCALE * np.asarray(data.y))
        rows += changes("units of y", name, (problem, data), (rescaled, moved))
    record("invariances", TEXT, COLUMNS, GROUPS, "units", rows)
