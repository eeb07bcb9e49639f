"""The checks of the contract, each a function of a problem that raises AssertionError."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from slt_jax.curves.jobs import target_of
from slt_jax.data import statistics_of, validate_data
from slt_jax.model import Model, Regression
from slt_jax.oracles.structures import Structure
from slt_jax.priors import parameter_shapes
from slt_jax.problem import Problem
from slt_jax.testing.probe import (
    NUM_DATA,
    NUM_DRAWS,
    Floats,
    Limits,
    data_of,
    draw_data,
    each,
    evaluate_along_y,
    evaluate_posterior,
    is_discrete,
    losses,
    points,
    prior_draws,
    ratios,
    terms,
)

# Standard errors of 10⁴ data that a mean may be off by: a false alarm of 2e-9 for each.
MAX_STANDARD_ERRORS = 6.0
ROUNDING = 1e-13


def check_problem(
    problem: Problem, *, limits: Limits | None = None, accuracy: float = ROUNDING
) -> list[str]:
    """Check that a problem keeps the contract that all of the package relies on.

    Its model is a value; prior, density and simulation agree with one another; sums over data are
    those of the data, in float32 too; the optimum, the entropy and the optimal set are what they
    claim to be. Random checks use fixed keys, and one in 10⁶ right problems would fail. ``limits``
    are the largest moduli of parameters at which the model is meant to be accurate, and
    ``accuracy`` is that of sums over data, relative to the sum of moduli.

    Returns the names of the checks that were made: a problem without a truth, or a model that does
    not simulate, has fewer. Raises AssertionError that names the check and says what is wrong, and
    ValueError for a problem whose parts have not the shapes that sums over data need.

    >>> import slt_jax as slt
    >>> from slt_jax.testing import check_problem
    >>> len(check_problem(slt.load_problem("linear_3")))
    11
    """
    checks: dict[str, Any] = {
        "value": check_value,
        "dimension": check_dimension,
        "prior": check_prior,
    }
    if problem.model.knows_shapes and problem.has_truth and problem.optimum:
        checks |= {
            "simulation": check_simulation,
            "density": check_density,
            "one distribution": check_one_distribution,
            "sums": lambda p: check_sums(p, limits, accuracy),
            "float32": lambda p: check_float32(p, limits),
            "optimum": lambda p: check_optimum(p, limits),
            "entropy": check_entropy,
            "optimal set": check_optimal_set,
        }
    for name, check in checks.items():
        try:
            check(problem)
        except AssertionError as failure:
            raise AssertionError(f"{problem.name}: {name}: {failure}") from failure
    return list(checks)


def rebuilt(model: Model) -> Model:
    """Return a copy of a model, made from its fields."""
    values = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    return type(model)(**values)


def check_value(problem: Problem) -> None:
    """A rebuilt model, and its structure, are equal and hash alike: they share programs."""
    copy, model = rebuilt(problem.model), problem.model
    _require(copy == model and hash(copy) == hash(model), "models of equal fields must be equal")
    if problem.optimum:
        exact, same = model.exact(problem.optimum), copy.exact(problem.optimum)
        _require(exact is None or isinstance(exact, Structure), f"exact returns {exact}")
        _require(exact == same and hash(exact) == hash(same), "structures must be equal")


def check_dimension(problem: Problem) -> None:
    """The dimension counts the real coordinates, and no theorem exceeds it."""
    dimension = problem.model.dimension
    w = jax.eval_shape(target_of(problem.model).sample_prior, jax.random.key(0))
    _require(w.shape == (dimension,), f"dimension is {dimension}, and w has shape {w.shape}")
    if (known := problem.theory) is not None:
        possible = 0 < known.learning_coefficient <= dimension / 2
        _require(possible, f"λ = {known.learning_coefficient} of {dimension} parameters")
        _require(1 <= known.multiplicity <= dimension, f"m = {known.multiplicity}")


def check_prior(problem: Problem) -> None:
    """Draws of the prior have the shapes of the density, are finite, and none comes twice."""
    shapes, draws = parameter_shapes(problem.model.priors()), prior_draws(problem.model)
    _require(draws.keys() == shapes.keys(), f"sample_prior draws {', '.join(draws)}")
    for name, leaf in draws.items():
        expected = (NUM_DRAWS, *shapes[name])
        _require(leaf.shape == expected, f"{name} has shape {leaf.shape}, not {expected}")
        _require(np.all(np.isfinite(leaf)), f"draws of {name} are not finite")
        rows = leaf.reshape(NUM_DRAWS, -1)
        _require(len(np.unique(rows, axis=0)) == NUM_DRAWS, f"draws of {name} are the same")
    with jax.enable_x64(True):
        log_prior = jax.jit(jax.vmap(problem.model.log_prior))(draws)
    _require(log_prior.shape == (NUM_DRAWS,), f"log_prior has shape {log_prior.shape[1:]}")
    _require(np.all(np.isfinite(log_prior)), "log_prior is not finite at draws of the prior")


def check_simulation(problem: Problem) -> None:
    """The same keys give the same data, no two keys the same real numbers, all of them valid."""
    data = data_of(problem)
    again = draw_data(problem)
    same = all(np.array_equal(a, b) for a, b in zip(data, again, strict=True))
    _require(same, "the same keys must give the same data")
    if not (is_discrete(data.x) and is_discrete(data.y)):
        joined = np.concatenate([np.reshape(part, (NUM_DATA, -1)) for part in data], axis=1)
        _require(len(np.unique(joined, axis=0)) == NUM_DATA, "two keys give the same data")
    _require(all(part.dtype == np.float64 for part in data), "data must be floats")
    validate_data(problem, data)


def check_density(problem: Problem) -> None:
    """∫ p(y|x,w) dy = 1 at w₀ and the first x, for scalar y, by the trapezoid rule.

    It reaches three times as far as the data do, and what may lie beyond is allowed for. Of
    discrete y, the probabilities of those that occur are summed: to 1 if all of them are common,
    which classes are and counts without a bound are not, and to at most 1 otherwise. Regressions
    have a density of this package.
    """
    x, y = data_of(problem)
    if y[0].size != 1 or isinstance(problem.model, Regression) or not problem.realisable:
        return
    at_optimum = {name: np.asarray(leaf)[None] for name, leaf in problem.optimum.items()}
    values, occurrences = np.unique(y, axis=0, return_counts=True)
    step, beyond, is_complete = 1.0, 0.0, bool(np.all(occurrences > 0.01 * NUM_DATA))
    if not is_discrete(y):
        reach = 3 * (np.max(y) - np.min(y)) + 1
        grid, step = np.linspace(np.min(y) - reach, np.max(y) + reach, 40_001, retstep=True)
        values = grid.reshape(-1, *y.shape[1:])
        with jax.enable_x64(True):
            # The rule is good for smooth densities alone, which end nowhere.
            is_complete = bool(np.all(problem.model.support().y(jnp.asarray(values))))
    with jax.enable_x64(True):
        logs = np.asarray(evaluate_along_y(problem.model, at_optimum, x[0], values))[0]
    total = float(np.exp(logs).sum() * step)
    if is_discrete(y):
        _require(total <= 1 + 1e-9, f"probabilities of the y that occur sum to {total}")
    else:
        beyond = float(np.exp(logs[[0, -1]]).sum()) * reach
    near = abs(total - 1) <= 1e-6 + 2 * beyond
    _require(near or not is_complete, f"p(y | x, w₀) integrates to {total}")


def check_one_distribution(problem: Problem) -> None:
    """E_{w₀} p(z|w)/p(z|w₀) = 1, which needs simulation and density to be one distribution.

    Within 6 standard errors over 10⁴ data, at points close enough for the ratio to have a standard
    deviation below 1 or so.
    """
    if not problem.realisable:
        return
    ell = terms(problem)
    log_ratios = ell[1:] - ell[0]
    ratio = np.exp(log_ratios[log_ratios.std(axis=1) < 0.7])
    error = ratio.std(axis=1) / np.sqrt(NUM_DATA)
    off = np.abs(ratio.mean(axis=1) - 1) - MAX_STANDARD_ERRORS * error
    _require(np.all(off <= 1e-12), "data are not drawn from the density of the likelihood")


def check_sums(problem: Problem, limits: Limits | None = None, accuracy: float = ROUNDING) -> None:
    """Σ a_i(ℓ_i(w) − ℓ_i(w₀)) of random weights at n = 10⁴ is the plain sum, in float64."""
    weights: Any = np.random.default_rng(3).uniform(0, 2, NUM_DATA)
    statistics: Any = statistics_of(problem, data_of(problem), weights)
    actual, ell = ratios(problem, statistics, points(problem, limits)), terms(problem, limits)
    check_sum_of_terms(actual, ell, weights, accuracy)
    reference, plain = float(statistics.log_likelihood_at_optimum), weights @ ell[0]
    _require(
        abs(reference - plain) <= 1e-13 * np.sum(weights * np.abs(ell[0])),
        f"log_likelihood_at_optimum is {reference}, and the sum {plain}",
    )


def check_sum_of_terms(
    actual: Floats, ell: Floats, weights: Floats, accuracy: float, allowed: Floats | float = 0.0
) -> None:
    """Compare ratios [point] with sums of ℓ_i [point, n], of which the first point is w₀."""
    tolerance = accuracy * ((np.abs(ell) + np.abs(ell[0])) @ weights) + allowed
    expected = (ell - ell[0]) @ weights
    finite = np.isfinite(expected)
    off = np.abs(actual - expected)[finite] - np.broadcast_to(tolerance, expected.shape)[finite]
    _require(np.all(off <= 0), f"log_likelihood_ratio is off the plain sum by {np.max(off):.2g}")
    # One rounding of the reference, since functions of vectors may differ from those of scalars.
    at_optimum = np.finfo(float).eps * np.sum(weights * np.abs(ell[0]))
    _require(abs(actual[0]) <= at_optimum, f"log_likelihood_ratio at w₀ is {actual[0]}, not 0")


def check_float32(problem: Problem, limits: Limits | None = None) -> None:
    """At n = 10⁴ ratios are good to 1e-4 nats plus 1e-5 of them, and gradients are finite.

    Where the posterior is, that is 1e-4 nats, and two plain float32 sums of 10⁴ terms, of 1.4e4
    nats each, would be rounded at 1e-3.
    """
    statistics = statistics_of(problem, data_of(problem))
    params, single = (
        jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)
        for tree in (points(problem, limits), statistics)
    )
    actual, gradients = evaluate_posterior(problem.model, params, single)
    _require(actual.dtype == np.float32, f"log_likelihood_ratio of float32 is {actual.dtype}")
    expected = ratios(problem, statistics, jax.tree.map(np.float64, params))
    finite = np.isfinite(expected)
    np.testing.assert_allclose(
        np.asarray(actual)[finite], expected[finite], rtol=1e-5, atol=1e-4,
        err_msg="float32 loses digits: CONTRIBUTING.md, 'Adding a model', on `expm1`",
    )  # fmt: skip
    for name, leaf in gradients.items():
        _require(np.all(np.isfinite(leaf[finite])), f"the gradient by {name} is not finite")


def excess(problem: Problem, limits: Limits | None = None) -> Floats:
    """(mean of ℓ(w) − ℓ(w₀))/standard error over 10⁴ data, at ``points`` but w₀."""
    ell = terms(problem, limits)
    gains = ell[1:] - ell[0]
    return np.asarray(np.sqrt(NUM_DATA) * gains.mean(axis=1) / (gains.std(axis=1) + 1e-12))


def check_optimum(problem: Problem, limits: Limits | None = None) -> None:
    """No w is better than w₀ by 6 standard errors."""
    with np.errstate(invalid="ignore"):
        gains = excess(problem, limits)
    beaten = np.sum(gains > MAX_STANDARD_ERRORS)
    _require(beaten == 0, f"the optimum is beaten at {beaten} of {gains.size} points")


def check_entropy(problem: Problem) -> None:
    """S and L(w₀), where they are known, are means over 10⁴ data within 6 standard errors."""
    data, truth = data_of(problem), problem.true_density
    for what, known, model, params in (
        ("entropy", problem.entropy, truth.model, truth.params),
        ("optimal loss", problem.optimal_loss, problem.model, problem.optimum),
    ):
        if known is not None:
            one = jax.tree.map(lambda leaf: np.asarray(leaf)[None], dict(params))
            seen = losses(Problem("one", model, params), one, data)
            error = seen.std() / np.sqrt(NUM_DATA)
            near = abs(seen.mean() - known) <= MAX_STANDARD_ERRORS * error + 1e-12
            _require(near, f"{what} is {known}, and of the data {seen.mean()} ± {error:.2g}")
    if problem.divergence is not None:
        _require(not problem.realisable, "a realisable problem has no divergence")


def check_optimal_set(problem: Problem) -> None:
    """K(w) = 0 for 8 draws of W₀, each of the parameters' shape.

    Of a realisable problem the densities are equal at every datum, to rounding; otherwise the
    difference of the losses has mean zero over 10⁴ data.
    """
    if problem.optimal_set is None:
        return
    with jax.enable_x64(True):
        drawn = each(problem.optimal_set, jax.random.split(jax.random.key(8), 8))
    params = {}
    for name, leaf in problem.optimum.items():
        first = np.asarray(leaf)[None]
        own = np.broadcast_to(drawn[name], (8, *np.shape(leaf)))
        params[name] = np.concatenate([first, own])
    seen = losses(problem, params, data_of(problem))
    more = seen[1:] - seen[0]
    if problem.realisable:
        worst = np.max(np.abs(more))
        _require(worst <= 1e-10, f"a draw of optimal_set has another density, by {worst:.2g} nats")
    error = more.std(axis=1) / np.sqrt(NUM_DATA)
    off = np.abs(more.mean(axis=1)) - MAX_STANDARD_ERRORS * error
    _require(np.all(off <= 1e-10), "a draw of optimal_set has another loss than w₀")


def _require(holds: Any, message: str) -> None:
    if not holds:
        raise AssertionError(message)
