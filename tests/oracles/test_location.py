"""Expectations over data sets of location families: against sampling, grids, oracles, limits."""

import math

import jax
import numpy as np
import pytest

from experiments.unrealisable.information import information, regular_fluctuation
from slt_jax.data import simulate
from slt_jax.models import named_problems
from slt_jax.models.normal_parabola import normal_parabola
from slt_jax.oracles.criteria import generalisation_errors, quadrature_points
from slt_jax.oracles.location import (
    ContactCurve,
    ParabolaCurve,
    conditional_errors,
    expected_errors,
)
from slt_jax.oracles.oracle import oracle_for

SLOW = pytest.mark.slow
CURVES = (ParabolaCurve(0.25), ParabolaCurve(1.0), ContactCurve(1, 3), ContactCurve(2, 3))


def by_grid(curve, n, xi):
    """E_w[K] and tr Var_w m on a uniform grid of w."""
    w = np.linspace(-curve.reach, curve.reach, 400_001)
    first, second = curve.mean(w)
    logs = -n * curve.divergence(w) + math.sqrt(n) * (xi[0] * first + xi[1] * second)
    terms = np.exp(logs - logs.max())
    terms /= terms.sum()
    variance = sum(terms @ m**2 - (terms @ m) ** 2 for m in (first, second))
    return np.array([terms @ curve.divergence(w), variance])


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("n", [1, 300, 1e5])
def test_one_data_set_against_a_grid(curve, n):
    for xi in ([0.3, -0.8], [-1.7, 0.4], [1e-3, 2.0]):
        errors = conditional_errors(curve, n, [xi])[:, 0]
        np.testing.assert_allclose(errors, by_grid(curve, n, xi), rtol=1e-4)


@pytest.mark.parametrize(
    "curve", [pytest.param(CURVES[0], marks=SLOW), pytest.param(CURVES[2], marks=SLOW),
              CURVES[1], CURVES[3]],
)  # fmt: skip
@pytest.mark.false_alarm(comparisons=2, standard_errors=5.5)
def test_expectation_against_sampled_data_sets(curve):
    """20 000 data sets, 5.5 standard errors, two comparisons of each curve."""
    xi = np.random.default_rng(0).normal(size=(20_000, 2))
    values = conditional_errors(curve, 50, xi)
    expected = expected_errors(curve, 50)
    for sample, exact in zip(values, (expected.gibbs, expected.variance), strict=True):
        error = sample.std() / math.sqrt(len(xi))
        assert error < 0.02 * sample.mean()
        assert abs(sample.mean() - exact.value) < 5.5 * error


@pytest.mark.parametrize("n", [1, 2, 10])
@pytest.mark.parametrize("c", [0.25, 0.5, 1.0])
def test_bounds_at_few_data(c, n):
    assert all(exact.error <= 1e-6 for exact in expected_errors(ParabolaCurve(c), n))


@pytest.mark.parametrize("n", [7, 150])
def test_the_bayes_error_is_the_growth_of_the_free_energy(n):
    """E[F_{n+1}] − E[F_n] on grids of w and ξ, relative to m(0): F has the same mean."""
    curve = ParabolaCurve(0.5)
    w = np.linspace(-2, 2, 2001)
    grid = np.arange(-7, 7.01, 0.25)
    xi = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    weights = np.exp(-0.5 * np.sum(xi**2, axis=1))
    weights /= weights.sum()

    def free_energy(size):
        logs = -size * curve.divergence(w) + math.sqrt(size) * (xi @ np.stack(curve.mean(w)))
        top = logs.max(axis=1)
        return weights @ -(top + np.log(np.mean(np.exp(logs - top[:, None]), axis=1)))

    gained = free_energy(n + 1) - free_energy(n)
    assert float(expected_errors(curve, n).bayes.value) == pytest.approx(gained, abs=2e-5)


def test_against_the_oracle_of_the_model():
    """The same data set through the quadrature that knows nothing of expectations."""
    problem = normal_parabola("parabola", 1.0)
    data = simulate(problem, jax.random.key(3), 40)
    xi = math.sqrt(40) * (np.asarray(data.y).mean(axis=0) - [0.0, 1.0])
    oracle = oracle_for(problem)
    assert oracle is not None
    errors = generalisation_errors(oracle, data, quadrature_points(problem))
    gibbs = conditional_errors(ParabolaCurve(1.0), 40, [xi])[0, 0]
    assert gibbs == pytest.approx(float(errors.gibbs_generalisation_error.value), rel=1e-5)


@pytest.mark.parametrize(
    "curve", [pytest.param(ParabolaCurve(0.25), marks=SLOW), ParabolaCurve(0.5),
              pytest.param(ParabolaCurve(1.0), marks=SLOW), ContactCurve(1, 1),
              pytest.param(ContactCurve(1, 3), marks=SLOW),
              pytest.param(ContactCurve(2, 3), marks=SLOW)],
)  # fmt: skip
def test_limits(curve):
    """c n^−σ at n = 10⁸, nearer than at 10⁴; and the ratio of both errors where it is known."""
    off = []
    for n in (1e4, 1e8):
        errors = expected_errors(curve, n)
        off.append(abs(float(errors.gibbs.value) * n**curve.exponent / curve.amplitude - 1))
    assert off[1] < 0.02
    assert off[1] < max(off[0], 1e-6)
    if isinstance(curve, ContactCurve) and curve.j < curve.k:
        ratio = float(errors.bayes.value / errors.gibbs.value)
        assert ratio == pytest.approx(-(curve.k / curve.j - 1), rel=0.1)


def test_two_optima_have_a_negative_bayes_error():
    """The predictive density of both at once beats either: B_g → −√((c − ½)/2πn)."""
    n = 1e6
    errors = expected_errors(ParabolaCurve(1.0), n)
    limit = -math.sqrt(0.5 / (2 * math.pi * n))
    assert float(errors.bayes.value) == pytest.approx(limit, rel=0.01)
    assert errors.gibbs.value > 0


@pytest.mark.parametrize("n", [0, 0.5, math.nan, math.inf])
def test_sizes_are_refused(n):
    with pytest.raises(ValueError, match=f"n = {n}"):
        expected_errors(ParabolaCurve(0.5), n)


def test_families_are_refused():
    with pytest.raises(ValueError, match=r"c = 4\.5"):
        ParabolaCurve(4.5)
    with pytest.raises(ValueError, match="j = 3, k = 2"):
        ContactCurve(3, 2)
    assert ContactCurve(2, 2).amplitude is None


@pytest.mark.parametrize("c", [0.25, 1.0])
def test_optimal_loss_and_fluctuation_of_the_problem(c):
    problem, curve = normal_parabola("parabola", c), ParabolaCurve(c)
    assert problem.optimal_loss == pytest.approx(curve.optimal_loss)
    nu = regular_fluctuation(information(problem, quadrature_points(problem)))
    assert nu == pytest.approx(curve.amplitude - 0.5)


def test_fluctuation_of_a_misspecified_regression():
    """I of y = Σθφ + ½φ₄ + noise is E[(1 + φ₄²/4)φφᵀ] and J = E[φφᵀ] = 1: by a rule of its own."""
    problems = named_problems()
    x, weights = np.polynomial.legendre.leggauss(30)
    basis = [np.sqrt(2 * i + 1) * np.polynomial.legendre.Legendre.basis(i)(x) for i in range(5)]
    trace = sum(weights / 2 @ (phi**2 * (1 + basis[4] ** 2 / 4)) for phi in basis[:4])
    problem = problems["legendre_4_misspecified"]
    matrices = information(problem, quadrature_points(problem))
    assert regular_fluctuation(matrices) == pytest.approx(trace / 2)
    realisable = problems["legendre_4"]
    nu = regular_fluctuation(information(realisable, quadrature_points(realisable)))
    assert nu == pytest.approx(2.0)
    singular = problems["tanh_2_even_truth"]
    assert regular_fluctuation(information(singular, quadrature_points(singular))) is None
