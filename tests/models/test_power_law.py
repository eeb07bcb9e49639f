"""Inputs have the spectrum, and the evidence is the one in closed form."""

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from slt_jax.data import simulate, statistics_of
from slt_jax.models.power_law import PowerLawRegression, power_law
from slt_jax.oracles.oracle import oracle_for


@pytest.mark.false_alarm(comparisons=4, standard_errors=6)
def test_inputs_have_the_spectrum():
    """10⁴ inputs: variances within 6 standard errors √(2/n) of i^{−1−α}."""
    model = PowerLawRegression(input_dim=4, alpha=0.5)
    x = jax.vmap(model.sample_input)(jax.random.split(jax.random.key(0), 10_000))
    ratio = np.mean(np.asarray(x, float) ** 2, axis=0) / np.arange(1, 5) ** -1.5
    assert np.all(np.abs(ratio - 1) <= 6 * np.sqrt(2 / 10_000))


@pytest.mark.slow
def test_evidence_in_closed_form():
    """log N(y; 0, I + XXᵀ), from the n × n matrix that the oracle never makes."""
    problem = power_law(5, 1.0)
    data = simulate(problem, jax.random.key(1), 20)
    statistics = statistics_of(problem, data)
    x, y = (np.asarray(part) for part in data)
    expected = multivariate_normal(cov=np.eye(20) + x @ x.T).logpdf(y[:, 0])
    evidence = oracle_for(problem).log_evidence(statistics)
    assert evidence.value + statistics.log_likelihood_at_optimum == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize("alpha", [-1.0, float("nan")])
def test_spectra_that_do_not_decay_are_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        power_law(3, alpha)
