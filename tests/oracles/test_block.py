"""The Gaussian block's closed form against the dense n × n normal density that it replaces."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from slt_jax.oracles.block import UNROLLED_BLOCK, DatumFit, log_block_evidence
from slt_jax.oracles.laws.none import NoLatent
from slt_jax.oracles.structures import Collapse
from slt_jax.statistics import RegressionStatistics

NUM_DATA, NUM_FEATURES = 12, 10


class Case:
    """Random data, weights a_i, basis, offset and optimum, and both answers."""

    def __init__(self, block: int, outputs: int, has_offset: bool):
        rng = np.random.default_rng(block)
        self.noise, self.scale, self.beta = 0.7, 1.3, 0.4
        self.features = rng.standard_normal((NUM_DATA, NUM_FEATURES))
        self.targets = rng.standard_normal((NUM_DATA, outputs))
        self.weights = rng.uniform(0.2, 2.0, NUM_DATA)
        self.basis = rng.standard_normal((NUM_FEATURES, block))
        self.optimum = rng.standard_normal((NUM_FEATURES, outputs))
        self.offset = rng.standard_normal((NUM_FEATURES, outputs)) if has_offset else None

    def by_statistics(self) -> float:
        weighted = self.weights[:, None] * self.features
        statistics = RegressionStatistics(
            gram=weighted.T @ self.features,
            cross=weighted.T @ (self.targets - self.features @ self.optimum),
            optimum=self.optimum,
            log_likelihood_at_optimum=np.zeros(()),
        )
        model = SimpleNamespace(
            noise=self.noise, basis=lambda latent: self.basis, offset=lambda latent: self.offset
        )
        collapse = Collapse(NoLatent(), self.scale)
        with jax.enable_x64(True):
            statistics = collapse.node_statistics(model, np.zeros(0), statistics)
            assert statistics.precision.shape == 2 * (self.basis.shape[1],)
            return float(log_block_evidence(statistics, np.float64(self.beta)))

    def by_dense_normal(self) -> float:
        """log N(y; offset, σ²/βa + s²ΦBBᵀΦᵀ) − log N(y; f₀, σ²/βa), over the output columns.

        Weighting a datum by βa is, up to factors that cancel here, a noise variance of σ²/βa.
        """
        variances = self.noise**2 / (self.beta * self.weights)
        design = self.scale * self.features @ self.basis
        dense = multivariate_normal(cov=np.diag(variances) + design @ design.T)
        fixed = 0.0 if self.offset is None else self.features @ self.offset
        optimal = norm(self.features @ self.optimum, np.sqrt(variances)[:, None])
        log_evidence = np.sum(dense.logpdf((self.targets - fixed).T))
        return log_evidence - np.sum(optimal.logpdf(self.targets))


@pytest.mark.parametrize("has_offset", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("block", [0, 1, 3, UNROLLED_BLOCK, UNROLLED_BLOCK + 1, 10])
def test_block_evidence_is_a_dense_normal(block, outputs, has_offset):
    """Elimination on scalars serves up to k = 6, Cholesky above; rounding of 12 data is 1e-11."""
    case = Case(block, outputs, has_offset)
    assert case.by_statistics() == pytest.approx(case.by_dense_normal(), rel=1e-11)


def test_evidence_without_data_is_that_of_the_prior():
    """β = 0 is no likelihood at all, by either path."""
    for block in (3, UNROLLED_BLOCK + 1):
        case = Case(block, 1, has_offset=True)
        case.beta = 0.0
        assert case.by_statistics() == 0


@pytest.mark.parametrize("outputs", [1, 3])
def test_mean_and_variance_of_a_datum_are_derivatives_of_its_cumulant(outputs):
    """The sum is that of several outputs, too, which few models have."""
    fit = DatumFit(np.array([[0.3]]), np.array([[0.7]]), np.array([[0.4]]), outputs)

    def cumulant(t):
        return fit.cumulant(jnp.reshape(t, 1))[0, 0]

    with jax.enable_x64(True):
        mean = jax.grad(cumulant)(0.0)
        variance = jax.grad(jax.grad(cumulant))(0.0)
    np.testing.assert_allclose(fit.mean(), [[mean]], rtol=1e-12)
    np.testing.assert_allclose(fit.variance(), [[variance]], rtol=1e-12)
