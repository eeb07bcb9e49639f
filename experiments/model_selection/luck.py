"""The case in which the best run misleads: runs are draws of two posteriors that are exact.

A run of a polynomial is a draw θ of its posterior, so that its mean true loss over runs is G_g. Of
T test data the loss relative to the truth's is

    ½θ'ᵀMθ' − θ'ᵀg,   θ' = θ − θ₀,  g ~ N(0, M/T),

whose second term is luck: with κ the part of G_g that is scatter over runs it has the variance
2κ/T over them, and the best of s runs gains about √(2 log s)·√(2κ/T). The worse of two models, with
G_g larger by Δ and more scatter, therefore wins from

    log s* = TΔ² / (4(√κ_worse − √κ_better)²).

In the regular theory, where G_g = d/n and κ = d/2n, that is T(√d_worse + √d_better)²/2n.
"""

from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import legvander

Floats = np.ndarray
STEADY, ERRATIC = 3, 8
SIZE, TRUTH_DEGREE = 100, 3


class Luck(NamedTuple):
    """Outcomes of two models by data set r, numbers of runs s and test data T.

    ``best`` and ``mean`` [model, R, T, s] are the least and the mean test loss of the first s runs,
    ``gibbs`` [model, R] the exact G_g and ``scatter`` its part over runs, nats per datum.
    """

    best: Floats
    mean: Floats
    gibbs: Floats
    scatter: Floats


def basis(x: Floats, degree: int) -> Floats:
    """Return the Legendre polynomials √(2i + 1) P_i at x, [..., i], orthonormal under U[−1, 1]."""
    return np.asarray(legvander(x, degree) * np.sqrt(2 * np.arange(degree + 1) + 1))


def draw_luck(
    seed: int, data_sets: int, test_sizes: tuple[int, ...], run_counts: tuple[int, ...]
) -> Luck:
    """Draw data sets of 100, runs of both models on them and their test losses."""
    runs, largest = run_counts[-1], max(test_sizes)
    degrees = (STEADY, ERRATIC)
    shape = (len(degrees), data_sets, len(test_sizes), len(run_counts))
    best, mean = np.empty(shape), np.empty(shape)
    gibbs, scatter = np.empty(shape[:2]), np.empty(shape[:2])
    for r in range(data_sets):
        generator = np.random.default_rng([seed, r, SIZE])
        x, noise = generator.uniform(-1, 1, SIZE), generator.standard_normal(SIZE)
        test_x, test_noise = generator.uniform(-1, 1, largest), generator.standard_normal(largest)
        truth = np.array([0.5, -0.5, 0.5, 0.5])
        y = basis(x, TRUTH_DEGREE) @ truth + noise
        for k, degree in enumerate(degrees):
            phi = basis(x, degree)
            covariance = np.linalg.inv(np.eye(degree + 1) + phi.T @ phi)
            shift = covariance @ phi.T @ y - np.pad(truth, (0, degree - TRUTH_DEGREE))
            scatter[k, r] = np.trace(covariance) / 2
            gibbs[k, r] = shift @ shift / 2 + scatter[k, r]
            root = np.linalg.cholesky(covariance)
            draws = shift + generator.standard_normal((runs, degree + 1)) @ root.T
            gaps = draws @ basis(test_x, degree).T
            sums = np.cumsum(gaps * (gaps - 2 * test_noise), axis=1) / 2
            for i, size in enumerate(test_sizes):
                losses = sums[:, size - 1] / size
                for j, s in enumerate(run_counts):
                    best[k, r, i, j], mean[k, r, i, j] = losses[:s].min(), losses[:s].mean()
    return Luck(best, mean, gibbs, scatter)


def crossing(luck: Luck, test_sizes: tuple[int, ...]) -> Floats:
    """Return log₁₀ s* [T] of the leading order, from the means over data sets."""
    gibbs, root = luck.gibbs.mean(axis=1), np.sqrt(luck.scatter.mean(axis=1))
    gap = (gibbs[1] - gibbs[0]) / (root[1] - root[0])
    return np.asarray(np.array(test_sizes) * gap**2 / 4 / np.log(10))
