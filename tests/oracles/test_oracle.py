"""Every oracle of fixed features passes the same checks: identities, weights, bounds.

``test_criteria`` and ``test_structures`` do the same for the other structures.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from slt_jax.data import scaled, simulate, statistics_of
from slt_jax.models import named_problems
from slt_jax.models.reduced_rank import ReducedRankRegression
from slt_jax.oracles import integration
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.oracle import Oracle, oracle_for
from slt_jax.oracles.quadrature import panel_rule
from slt_jax.oracles.structures import Collapse
from slt_jax.problem import Problem
from slt_jax.statistics import Data, RegressionStatistics

NUM_SETS, NUM_EXPENSIVE = 8, 2
LARGEST = 10_000
PROBLEMS = {
    name: problem
    for name, problem in named_problems().items()
    if isinstance(problem.model.exact(problem.optimum), Collapse)
}
# Their rules have so many nodes that the fast suite asks for fewer data sets.
LARGE = ("reduced_rank_2_2_2", "tanh_3", "skalse", "deep_linear", "powers")
EXPENSIVE = tuple(name for name in PROBLEMS if name.startswith(LARGE))
CHEAP = tuple(name for name in PROBLEMS if name not in EXPENSIVE)
SCALAR = tuple(
    name
    for name in PROBLEMS
    if jax.eval_shape(PROBLEMS[name].simulate, jax.random.key(0))[1].size == 1
    and (name not in EXPENSIVE or name in ("skalse_0", "tanh_3"))
)
# The fast suite asks the first problem of each kind of model and law, and two more: a matrix of
# two columns, and an optimum that is not zero. Deep nets, which cost most, are in ``test_layers``
# and ``test_brute_force``.
FAST = {
    *{
        (type(p.model), type(p.model.exact(p.optimum).law)): name
        for name, p in reversed(PROBLEMS.items())
        if not name.startswith("deep_linear")
    }.values(),
    "reduced_rank_2_2_2_1",
    "tanh_2_teacher_1",
}


def cases(*keys):
    """Parameters that begin with, or are, the name of a problem; slow are those not in FAST."""
    names = [key if isinstance(key, str) else key[0] for key in keys]
    marks = [[] if name in FAST else [pytest.mark.slow] for name in names]
    return [
        pytest.param(*([key] if isinstance(key, str) else key), marks=mark)
        for key, mark in zip(keys, marks, strict=True)
    ]


# Programs that run once are compiled in the least time.
once = functools.partial(
    jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0}
)


@once
def seen(problem: Problem, keys, optimum):
    """Features of data and their residuals at the optimum."""
    x, y = jax.vmap(problem.simulate)(keys)
    residuals = y - jax.vmap(problem.model.predict, (None, 0))(optimum, x)
    return jax.vmap(problem.model.features)(x), residuals


@functools.cache
def inputs_and_residuals(name: str):
    """φ(x_i) and y_i − f(x_i, w₀) of NUM_SETS nested data sets, and c(w₀): the data, once."""
    problem = PROBLEMS[name]
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(21), NUM_SETS * LARGEST)
        optimum = jax.tree.map(jnp.asarray, dict(problem.optimum))
        parts = (np.asarray(part) for part in seen(problem, keys, optimum))
        shaped = (part.reshape(NUM_SETS, LARGEST, -1) for part in parts)
        return *shaped, np.asarray(problem.model.coefficients(optimum))


def data_sets(name: str, n: int) -> RegressionStatistics:
    """Statistics, but for the reference, of the first n data of 8 data sets (2 if expensive)."""
    features, residuals, origin = inputs_and_residuals(name)
    count = NUM_EXPENSIVE if name in EXPENSIVE else NUM_SETS
    phi, noise = features[:count, :n], residuals[:count, :n]
    return RegressionStatistics(
        gram=np.einsum("rnp,rno->rpo", phi, phi),
        cross=np.einsum("rnp,rnq->rpq", phi, noise),
        optimum=np.tile(origin, (count, 1, 1)),
        log_likelihood_at_optimum=np.zeros(count),
    )


def stack(*all_statistics: RegressionStatistics) -> RegressionStatistics:
    """Separate statistics as replicates of one."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *all_statistics)


def evaluate(oracle: Oracle, statistics: RegressionStatistics) -> Exact:
    """log evidence of any number of replicates, by eights, for which programs are compiled."""
    count = NUM_EXPENSIVE if oracle.problem.name in EXPENSIVE else NUM_SETS
    size = len(statistics.gram)
    padded = jax.tree.map(
        lambda leaf: leaf[np.arange(-(-size // count) * count) % size], statistics
    )
    parts = [
        oracle.log_evidence(jax.tree.map(lambda leaf, i=i: leaf[i : i + count], padded))
        for i in range(0, size, count)
    ]
    return Exact(*(np.concatenate(part)[:size] for part in zip(*parts, strict=True)))


def data_of(problem: Problem, n: int) -> Data:
    with jax.enable_x64(True):
        data = jax.vmap(problem.simulate)(jax.random.split(jax.random.key(22), n))
        return Data(*map(np.asarray, data))


# --- derivatives in β ------------------------------------------------------------------------


@pytest.mark.parametrize("name", cases(*PROBLEMS))
def test_without_likelihood_the_evidence_is_one(name):
    """F(0) = 0 within its error, and the energies are those of the prior: positive, finite."""
    moments = oracle_for(PROBLEMS[name]).moments(data_sets(name, 100), 0.0)
    free_energy = moments.normalised_free_energy
    assert np.all(np.abs(free_energy.value) <= free_energy.error)
    assert np.all(free_energy.error < 1e-2)
    assert np.all(moments.excess_energy.value > 0)
    assert np.all(moments.energy_variance.value > 0)


def central_difference(at: dict[float, np.ndarray], h: float) -> tuple[np.ndarray, np.ndarray]:
    """Derivative by Richardson's extrapolation of steps h and h/2, and what it corrected."""
    wide, narrow = ((at[s] - at[-s]) / (2 * s) for s in (h, h / 2))
    return (4 * narrow - wide) / 3, np.abs(narrow - wide)


# Of matrices of two columns in tests/statistical, with all other identities.
@pytest.mark.parametrize("name", cases(*CHEAP, "skalse_0"))
def test_energies_are_derivatives_of_the_free_energy(name):
    """E = dF/dβ and Var = −dE/dβ at β = 0.7, n = 100, by extrapolated central differences.

    Allowed: the returned errors, those of the four values over the steps (3/h of the largest),
    and a tenth of what the extrapolation corrected, as its own error is of higher order.
    """
    beta, h = 0.7, 0.07
    oracle = oracle_for(PROBLEMS[name], 2 if "skalse" in name else 3)
    statistics = data_sets(name, 100)
    centre = oracle.moments(statistics, beta)
    around = {s: oracle.moments(statistics, beta + s) for s in (-h, -h / 2, h / 2, h)}
    for integral, derivative, sign in (
        ("normalised_free_energy", "excess_energy", 1),
        ("excess_energy", "energy_variance", -1),
    ):
        values = {s: getattr(m, integral).value for s, m in around.items()}
        error = np.max([getattr(m, integral).error for m in around.values()], axis=0)
        slope, correction = central_difference(values, h)
        exact = getattr(centre, derivative)
        allowed = exact.error + 3 * error / h + 0.1 * correction
        assert np.all(np.abs(sign * slope - exact.value) <= allowed)
        assert np.all(allowed < 0.05 * np.mean(np.abs(exact.value))), "a check without power"


def test_evidence_is_minus_the_free_energy():
    oracle, statistics = oracle_for(PROBLEMS["monomial_1_1"]), data_sets("monomial_1_1", 10)
    free_energy = oracle.moments(statistics).normalised_free_energy
    evidence = oracle.log_evidence(statistics)
    np.testing.assert_array_equal(evidence.value, -free_energy.value)
    np.testing.assert_array_equal(evidence.error, free_energy.error)
    assert evidence.value.dtype == evidence.error.dtype == np.float64
    assert evidence.value.shape == evidence.error.shape == (NUM_SETS,)


@pytest.mark.parametrize("name", ["monomial_2_1", "reduced_rank_2_2_1_0", "tanh_1"])
def test_beta_is_a_weight_of_every_datum(name):
    """Statistics scaled by β at β = 1 are the statistics at β, for F; rounding is 1e-12."""
    oracle, statistics = oracle_for(PROBLEMS[name]), data_sets(name, 100)
    with jax.enable_x64(True):
        cooled = scaled(statistics, 0.3)
    one = oracle.moments(cooled).normalised_free_energy
    other = oracle.moments(statistics, 0.3).normalised_free_energy
    np.testing.assert_allclose(one.value, other.value, atol=1e-12)


# --- weights per datum -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear_3", "tanh_1"])
def test_a_datum_of_weight_zero_is_absent(name):
    """log Z and its error agree to rounding with those of data from which it was taken out."""
    problem = PROBLEMS[name]
    data = data_of(problem, 6)
    weights = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    present = Data(*(part[weights > 0] for part in data))
    oracle = oracle_for(problem)
    weighted, without = statistics_of(problem, data, weights), statistics_of(problem, present)
    one, other = (evaluate(oracle, stack(s)) for s in (weighted, without))
    np.testing.assert_allclose(one.value, other.value, atol=1e-12)
    np.testing.assert_allclose(one.error, other.error, atol=1e-12)


def test_one_more_datum_gives_the_predictive_density():
    """log E_w[p(z_j|w)] = log Z(a + e_j) − log Z(a), in closed form for linear regression.

    The posterior of weights a is N(μ, Λ⁻¹), Λ = I + Σ a xxᵀ, and p(y_j|x_j) is
    N(x_j·μ, 1 + x_jᵀΛ⁻¹x_j); j runs over training data and two held-out ones, of weight 0.
    """
    problem = PROBLEMS["linear_3"]
    data = data_of(problem, 8)
    weights = np.random.default_rng(7).uniform(0.2, 1.5, 8)
    weights[6:] = 0.0
    precision = np.eye(3) + data.x.T @ (weights[:, None] * data.x)
    mean = np.linalg.solve(precision, data.x.T @ (weights * data.y[:, 0]))
    variances = 1 + np.sum(data.x * np.linalg.solve(precision, data.x.T).T, axis=1)
    expected = norm(data.x @ mean, np.sqrt(variances)).logpdf(data.y[:, 0])

    with jax.enable_x64(True):
        all_statistics = [
            statistics_of(problem, data, weights + unit) for unit in (0 * weights, *np.eye(8))
        ]
        statistics = stack(*all_statistics)
    log_evidence = (
        evaluate(oracle_for(problem), statistics).value + statistics.log_likelihood_at_optimum
    )
    np.testing.assert_allclose(log_evidence[1:] - log_evidence[0], expected, rtol=1e-11)


@pytest.mark.parametrize("name", cases(*(name for name in CHEAP if name != "linear_3")))
def test_replicates_of_different_size_share_a_batch(name):
    """Rules are made for the mean of the replicates; the errors must say what that costs."""
    oracle = oracle_for(PROBLEMS[name])
    sets, half = (data_sets(name, 10), data_sets(name, LARGEST)), NUM_SETS // 2
    mixed = jax.tree.map(lambda *leaves: np.concatenate([leaf[:half] for leaf in leaves]), *sets)
    together, *separate = (oracle.log_evidence(statistics) for statistics in (mixed, *sets))
    value, error = np.concatenate([np.stack(part)[:, :half] for part in separate], axis=1)
    assert np.all(np.abs(together.value - value) <= together.error + error)


@once
def prior_coefficients(problem: Problem, keys):
    """Coefficients of features under draws of the prior."""
    return jax.vmap(problem.model.coefficients)(jax.vmap(problem.model.sample_prior)(keys))


# Skalse's polynomial integrates to one in tests/statistical, with all others, and takes longest.
@pytest.mark.parametrize(
    "name",
    [
        *cases(*(n for n in SCALAR if n != "skalse_0")),
        pytest.param("skalse_0", marks=pytest.mark.slow),
    ],
)
@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_evidence_is_a_density_of_data(name):
    """∫ Z dy over |y − f₀| ≤ 8 is the prior's probability of such a y, for one datum at fixed x.

    That probability is 1 but for the tails of products of normals, which 10⁵ draws estimate; it
    is allowed 6 standard errors (false alarm 2e-9), 1e-6 for the rule in y, which is smooth on
    the scale of the noise, and the returned errors weighted by Z.
    """
    problem = PROBLEMS[name]
    features, _, origin = inputs_and_residuals(name)
    phi, noise = features[0, 0], problem.model.noise
    rule = panel_rule(np.linspace(-8, 8, 9), 5)
    count = len(rule.nodes)
    statistics = RegressionStatistics(
        gram=np.tile(np.outer(phi, phi), (count, 1, 1)),
        cross=rule.nodes[:, None, None] * phi[:, None],
        optimum=np.tile(origin, (count, 1, 1)),
        log_likelihood_at_optimum=norm(0, noise).logpdf(rule.nodes),
    )
    evidence = evaluate(oracle_for(problem, 2 if name in EXPENSIVE else 3), statistics)
    density = rule.weights * np.exp(evidence.value + statistics.log_likelihood_at_optimum)

    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(23), 100_000)
        shifts = np.asarray(prior_coefficients(problem, keys))[:, :, 0] @ phi
    shifts -= phi @ origin[:, 0]
    inside = norm.cdf((8 - shifts) / noise) - norm.cdf((-8 - shifts) / noise)
    standard_error = np.std(inside) / np.sqrt(len(inside))

    allowed = 1e-6 + 6 * standard_error + np.sum(density * np.expm1(evidence.error))
    assert allowed < 5e-3
    assert abs(density.sum() - inside.mean()) <= allowed


# --- error bounds ----------------------------------------------------------------------------


def violations(name: str, n: int) -> list[str]:
    """The cases in which refinements 1 and 2 differ from 3 by more than both bounds, at two β.

    Twice rounding, 1e-12 of the value, is allowed on top.
    """
    violations = []
    statistics = data_sets(name, n)
    for beta in (1.0,) if name in EXPENSIVE else (1.0, 1 / np.log(n)):
        coarse, middle, fine = (
            oracle_for(PROBLEMS[name], refinement).moments(statistics, beta)
            for refinement in (1, 2, 3)
        )
        for refinement, moments in ((1, coarse), (2, middle)):
            for quantity, claimed, best in zip(fine._fields, moments, fine, strict=True):
                distance = np.abs(claimed.value - best.value)
                allowed = claimed.error + best.error + 1e-12 * (1 + np.abs(best.value))
                violations.extend(
                    f"{name} n={n} beta={beta:.3g} refinement={refinement} {quantity} [{r}]: "
                    f"off by {distance[r]:.3g}, bounds {claimed.error[r]:.3g} + {best.error[r]:.3g}"
                    for r in np.flatnonzero(~(distance <= allowed))
                )
    return violations


@pytest.mark.parametrize(
    ("name", "n"),
    cases(
        *((name, n) for name in CHEAP for n in (10, 100, 1000, LARGEST)),
        *((name, 10) for name in ("reduced_rank_2_2_2_1", "tanh_3", "skalse_0")),
    ),
)
def test_error_bounds_are_true(name, n):
    """Nothing is random in a bound, so none may fail; all problems and n: tests/statistical."""
    broken = violations(name, n)
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("name", cases(*PROBLEMS))
def test_error_bounds_are_useful(name):
    """Level 2, the default, knows F to a twentieth of a nat at n = 100 at worst."""
    assert np.all(oracle_for(PROBLEMS[name]).log_evidence(data_sets(name, 100)).error < 0.05)


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [-0.5, np.nan, np.inf, -np.inf])
def test_bad_beta_is_refused(beta):
    with pytest.raises(ValueError) as error:
        oracle_for(PROBLEMS["linear_3"]).moments(data_sets("linear_3", 10), beta)
    assert f"beta = {beta}" in str(error.value)
    assert "≥ 0" in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["gram", "cross", "optimum"])
def test_bad_statistics_are_refused(field, value):
    """One bad entry of one replicate is enough."""
    statistics = data_sets("linear_3", 10)
    spoiled = getattr(statistics, field).copy()
    spoiled[3, 1, 0] = value
    oracle = oracle_for(PROBLEMS["linear_3"])
    for ask in (oracle.moments, oracle.log_evidence):
        with pytest.raises(ValueError, match="NaN or infinite"):
            ask(statistics._replace(**{field: spoiled}))


@pytest.mark.parametrize("refinement", [-1, 0, 4])
def test_bad_refinements_are_refused(refinement):
    with pytest.raises(ValueError) as error:
        oracle_for(PROBLEMS["linear_3"], refinement)
    assert f"refinement = {refinement}" in str(error.value)
    assert "1 to 3" in str(error.value)


def test_a_model_without_structure_has_no_oracle():
    model = ReducedRankRegression(input_dim=3, output_dim=1, hidden_dim=1)
    optimum = {"A": np.zeros((1, 3)), "B": np.zeros((1, 1))}
    assert oracle_for(Problem("three_inputs", model, optimum)) is None


def test_float64_is_switched_off_after_a_call():
    oracle = oracle_for(PROBLEMS["linear_3"])
    oracle.moments(data_sets("linear_3", 10))
    assert jnp.zeros(()).dtype == np.float32
    with pytest.raises(ValueError):
        oracle.moments(data_sets("linear_3", 10), -1.0)
    assert jnp.zeros(()).dtype == np.float32


@pytest.mark.parametrize("name", ["skalse_x2", "tanh_1", "reduced_rank_2_2_1_0"])
def test_without_data_the_rule_of_the_prior_serves(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All energies are 0 then, and nothing is to be followed out of the prior's bulk."""
    monkeypatch.setattr(integration, "followed", None)
    problem = PROBLEMS[name]
    data = simulate(problem, jax.random.key(0), 4)
    evidence = oracle_for(problem, 1).log_evidence(statistics_of(problem, data, np.zeros(4)))
    assert abs(evidence.value) <= evidence.error < 0.02
