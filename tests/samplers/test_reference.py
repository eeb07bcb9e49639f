"""NUTS on a singular posterior against the oracle at the same n and β."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import statistics_along_n
from slt_jax.estimators.diagnostics import effective_sample_size, r_hat
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.samplers.nuts import NUTSSettings, nuts


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_nuts_agrees_with_the_oracle_on_a_singular_model():
    """E_β[nL_n] of y = w₁w₂x at β = 1/log n: R̂ and ESS first, then 5 standard errors (10⁻⁶)."""
    problem = named_problems()["monomial_1_1"]
    n, chains = 100, 16
    beta = 1 / math.log(n)
    statistics = statistics_along_n(problem, jax.random.key(3), 1, (n,))[0]
    exact = oracle_for(problem).moments(statistics, beta).excess_energy.value[0]
    target = target_of(problem.model)
    start = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(4), chains))
    one = in_precision(jax.tree.map(lambda leaf: leaf[0], statistics), jnp.float32)
    run = jax.jit(nuts, static_argnums=(0, 1))(
        target, NUTSSettings(num_warmup=500, num_draws=500), jax.random.key(5), one, beta, start
    )
    energies = np.asarray(run.energies, float)
    ess = float(effective_sample_size(energies))
    assert ess > 400
    assert float(r_hat(energies)) < 1.05
    error = energies.std() / math.sqrt(ess)
    assert abs(energies.mean() - exact) < 5 * error
