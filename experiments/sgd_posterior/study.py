"""The study: endpoints beside posteriors, learning curves, exact moments, and Boolean functions."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.curves.jobs import problem_key
from slt_jax.curves.predictions import mean_losses
from slt_jax.data import simulate
from slt_jax.estimators import mean_over_seeds
from slt_jax.models import problems_of
from slt_jax.oracles.criteria import generalisation_errors, quadrature_points
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.run.sweep import Task
from slt_jax.statistics import Data

from . import Config, boolean
from .ensembles import (
    MIN_ENDPOINTS,
    REFERENCE,
    distance,
    endpoints_of,
    growth_at_zero,
    inputs_of,
    settings_of,
    share_at_zero,
)
from .families import family_of, fitted
from .measures import compared
from .moments import best_fit, limiting_divergence, predicted_beta, sgd_moments

REGULAR = "linear_3"
PROBLEMS = (REGULAR, "monomial_1_1", "tanh_1")
# Standard deviations of the inputs of linear regression: white, and not.
DESIGNS = {"deviations 1, 1, 1": (1.0, 1.0, 1.0), "deviations ½, 1, 2": (0.5, 1.0, 2.0)}
ERRORS = ("sgd_error", "gibbs_error", "bayes_error", "sgd_exact_error")
# Permutations where no p-value is asked for.
FEWEST = 19
COMPARED = (
    "beta", "prior_width", "at_edge", "diverged", "coefficient", "accuracy", "energy_p",
    "classifier_p", "own_coefficient", "floor", "floor_accuracy", "exact_beta",
    "exact_prior_width", "exact_divergence", "growth", "at_zero", "own_at_zero",
)  # fmt: skip


def tasks(config: Config) -> list[Task]:
    """List all work: by problem, the exact distances, and by target."""
    do = functools.partial
    regular = Task("exact", do(exact_divergences, config), "exact")
    ends = [Task(f"endpoints.{name}", do(endpoints, config, name), name) for name in PROBLEMS]
    curves = [Task(f"curve.{name}", do(curve, config, name), name) for name in PROBLEMS]
    functions = [
        Task(f"functions.{i}", do(functions_found, config, i), "functions")
        for i in range(len(boolean.targets()))
    ]
    return [regular, *ends, *curves, *functions]


def data_sets(problem: Problem, key: Array, n: int, count: int) -> list[Data]:
    """Simulate independent data sets, which depend on (key, n, index) alone."""
    base = jax.random.fold_in(key, n)
    return [simulate(problem, jax.random.fold_in(base, i), n) for i in range(count)]


def endpoints(config: Config, name: str) -> xr.Dataset:
    """Fit posteriors to half of the endpoints of each setting, and test the other half.

    All [setting, replicate]: ``beta`` and ``prior_width`` of the likeliest posterior, and whether
    it lies ``at_edge`` of what is tried; ``coefficient``, the energy coefficient of the other half
    and draws of that posterior, ``accuracy`` of the classifier, and both p-values;
    ``own_coefficient`` with the posterior at β = 1 under the problem's prior; ``floor`` and
    ``floor_accuracy`` of two halves of draws. Of linear regression under independent batches the
    ``exact_`` fit and its ``exact_divergence`` in nats, else NaN. Of the singular problems
    ``growth`` at w = 0, and the share of endpoints and of draws at β = 1 that are ``at_zero``.
    ``predicted_beta`` [setting].
    """
    (problem,) = problems_of([name])
    data_key, run_key, input_key = jax.random.split(problem_key(config.seed, problem), 3)
    data = data_sets(problem, data_key, config.size, config.data_sets)
    settings = settings_of(config.size, config.slowness)
    ends, diverged = endpoints_of(
        problem, data, list(settings.values()), run_key, config.endpoints
    )  # fmt: skip
    inputs = inputs_of(problem, input_key)
    values = {key: np.full(ends.shape[:2], np.nan) for key in COMPARED}
    for i, each in enumerate(settings.values()):
        for j, one in enumerate(data):
            finite = ends[i, j][~diverged[i, j]]
            found: dict[str, float] = {"diverged": float(diverged[i, j].mean())}
            if name != REGULAR:
                found["growth"] = growth_at_zero(one, each)
            if len(finite) >= MIN_ENDPOINTS:
                seed = [config.seed, i, j]
                found |= _held_to_posterior(config, problem, one, finite, inputs, seed)
            if name == REGULAR and each.independent_batches and each.optimiser == "sgd":
                found |= _exact(one, each)
            for key, value in found.items():
                values[key][i, j] = value
    predicted = [
        predicted_beta(config.size, each.step_size, each.batch_size, each.momentum)
        if each.optimiser == "sgd" else math.nan
        for each in settings.values()
    ]  # fmt: skip
    predicted = [b if math.isfinite(b) else math.nan for b in predicted]
    return xr.Dataset(
        {key: (("setting", "replicate"), value) for key, value in values.items()}
        | {"predicted_beta": ("setting", predicted)},
        coords={"setting": list(settings)},
    )


def _held_to_posterior(
    config: Config,
    problem: Problem,
    data: Data,
    w: np.ndarray,
    inputs: np.ndarray,
    seed: list[int],
) -> dict[str, float]:
    """Fit on the first half of endpoints w [K, d], and test the second."""
    family, half = family_of(problem.name, data), len(w) // 2
    fit = fitted(family, w[:half])
    rng = np.random.default_rng(seed)
    first, second = (family.draw(rng, half, fit.beta, fit.scale) for _ in range(2))
    own = family.draw(rng, half, 1.0, 1.0)
    tested = w[half : 2 * half]
    after = distance(problem, inputs, tested, first, config.permutations)
    floor = distance(problem, inputs, first, second, FEWEST)
    before = distance(problem, inputs, tested, own, FEWEST)
    near = {}
    if problem.name != REGULAR:
        near = {
            "at_zero": share_at_zero(w, len(data.y)),
            "own_at_zero": share_at_zero(own, len(data.y)),
        }
    return {
        "beta": fit.beta, "prior_width": fit.scale, "at_edge": float(fit.at_edge),
        "coefficient": after.coefficient, "accuracy": after.accuracy,
        "energy_p": after.energy_p, "classifier_p": after.classifier_p,
        "own_coefficient": before.coefficient,
        "floor": floor.coefficient, "floor_accuracy": floor.accuracy, **near,
    }  # fmt: skip


def _arrays(data: Data) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(data.x, float), np.asarray(data.y, float)[:, 0]


def _exact(data: Data, settings: Any) -> dict[str, float]:
    """Fit the posterior to the exact moments of SGD on linear regression."""
    x, y = _arrays(data)
    moments = sgd_moments(
        x, y, settings.step_size, settings.batch_size, settings.steps, settings.momentum,
        settings.initial_scale,
    )  # fmt: skip
    if not _is_law(moments.covariance):
        return {}
    fit, divergence = best_fit(x, y, moments)
    return {
        "exact_beta": fit.beta, "exact_prior_width": fit.scale, "exact_divergence": divergence,
    }  # fmt: skip


def _is_law(covariance: np.ndarray) -> bool:
    """Say whether second moments are finite and positive: large steps have none."""
    return bool(np.isfinite(covariance).all() and np.linalg.eigvalsh(covariance)[0] > 0)


def curve(config: Config, name: str) -> xr.Dataset:
    """Compute n(E[L(w)] − L(w₀)) of SGD and n times the exact Gibbs and Bayes errors.

    ``sgd_error``, ``gibbs_error`` and ``bayes_error`` [n] are means over the same data sets, with
    standard errors, and ``sgd_excess`` is the paired difference of SGD and Gibbs. SGD has the
    reference setting of each n, and runs that diverged, ``curve_diverged`` [n] of all, are left
    out. ``sgd_exact_error`` is SGD's by exact moments, else NaN.
    """
    (problem,) = problems_of([name])
    oracle, points = oracle_for(problem), quadrature_points(problem)
    data_key, run_key, _ = jax.random.split(problem_key(config.seed + 1, problem), 3)
    optimal = problem.optimal_loss
    if oracle is None or optimal is None:
        raise ValueError(f"{name}: no exact errors")
    rows: dict[str, list[Any]] = {key: [] for key in ERRORS}
    diverging = []
    for n in config.curve_sizes:
        data = data_sets(problem, data_key, n, config.curve_data_sets)
        settings = settings_of(n, config.slowness)[REFERENCE]
        key = jax.random.fold_in(run_key, n)
        ends, diverged = endpoints_of(problem, data, [settings], key, config.curve_seeds)
        losses = mean_losses(problem, ends[0], points) - optimal
        diverging.append(float(diverged.mean()))
        errors = [generalisation_errors(oracle, one, points) for one in data]
        rows["sgd_error"].append(n * _mean_where(~diverged[0], losses))
        rows["gibbs_error"].append([n * float(e.gibbs_generalisation_error.value) for e in errors])
        rows["bayes_error"].append([n * float(e.bayes_generalisation_error.value) for e in errors])
        rows["sgd_exact_error"].append(
            [n * _exact_error(problem, one, settings) for one in data]
            if name == REGULAR else [math.nan] * len(data)
        )  # fmt: skip
    arrays = {key: np.array(value, float) for key, value in rows.items()}
    arrays["sgd_excess"] = arrays["sgd_error"] - arrays["gibbs_error"]
    variables: dict[str, Any] = {"curve_diverged": ("n", diverging)}
    for label, values in arrays.items():
        estimate = mean_over_seeds(values)
        variables[label] = ("n", estimate.value)
        variables[f"{label}_se"] = ("n", estimate.standard_error)
    return xr.Dataset(variables, coords={"n": list(config.curve_sizes)})


def _mean_where(kept: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average over the last axis what is kept, NaN where nothing is."""
    count = kept.sum(axis=-1)
    total = np.sum(np.where(kept, values, 0.0), axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _exact_error(problem: Problem, data: Data, settings: Any) -> float:
    """Compute E[L(w)] − L(w₀) = E|w − w₀|²/2 of white inputs from exact moments."""
    x, y = _arrays(data)
    moments = sgd_moments(x, y, settings.step_size, settings.batch_size, settings.steps)
    off = moments.mean - np.asarray(problem.optimum["w"], float)
    return float(off @ off + np.trace(moments.covariance)) / 2


def exact_divergences(config: Config) -> xr.Dataset:
    """Compute the KL of SGD from the best posterior of linear regression, from exact moments.

    ``divergence`` [design, exact_n] is the mean over data sets, with its standard error; SGD has
    the reference setting, and inputs have the deviations of the design. ``divergence_limit``
    [design] is what is left as n → ∞.
    """
    (problem,) = problems_of(["linear_3"])
    key = jax.random.fold_in(problem_key(config.seed, problem), 1)
    shape = (len(DESIGNS), len(config.exact_sizes), config.exact_data_sets)
    values = np.full(shape, np.nan)
    w = np.asarray(problem.optimum["w"], float)
    for j, n in enumerate(config.exact_sizes):
        settings = settings_of(n, config.slowness)[REFERENCE]
        for k, data in enumerate(data_sets(problem, key, n, config.exact_data_sets)):
            x, y = _arrays(data)
            for i, deviations in enumerate(DESIGNS.values()):
                scaled = x * np.array(deviations)
                moments = sgd_moments(
                    scaled, y - x @ w + scaled @ w, settings.step_size, 1, settings.steps
                )
                if _is_law(moments.covariance):
                    values[i, j, k] = best_fit(scaled, y - x @ w + scaled @ w, moments)[1]
    estimate = mean_over_seeds(values)
    limits = [limiting_divergence(np.array(each) ** 2) for each in DESIGNS.values()]
    return xr.Dataset(
        {
            "divergence": (("design", "exact_n"), estimate.value),
            "divergence_se": (("design", "exact_n"), estimate.standard_error),
            "divergence_limit": ("design", limits),
        },
        coords={"design": list(DESIGNS), "exact_n": list(config.exact_sizes)},
    )


def functions_found(config: Config, index: int) -> xr.Dataset:
    """Count the functions that trained nets find, and those of nets drawn until one fits.

    ``trained_count`` and ``drawn_count`` [net_setting, completion] of all functions that have the
    labels, whose 16 values are ``truth_table`` [completion]; what ``Comparison`` says of them
    [net_setting]; ``unfinished`` runs, ``mean_steps``, ``right_at_start`` and ``accepted``, the
    share of draws that have the labels.
    """
    target = boolean.targets()[index]
    row_key, run_key = jax.random.split(jax.random.key(config.seed))
    rows = boolean.labelled_rows(row_key, config.labels)
    every = boolean.completions(target, rows)
    settings = boolean.settings_of(config.step_size, config.training_steps)
    model = boolean.net(config.hidden)
    trained = [
        boolean.trained_counts(
            model, target, rows, each, jax.random.fold_in(run_key, index), config.trainings
        )
        for each in settings.values()
    ]
    drawn = [_prior(config, each.initial_scale)[every] for each in settings.values()]
    results = [compared(a.counts, b, config.seed) for a, b in zip(trained, drawn, strict=True)]
    axes = ("net_setting", "completion")
    columns = {
        name: ("net_setting", [float(getattr(each, name)) for each in results])
        for name in results[0]._fields
    }
    return xr.Dataset(
        {
            "trained_count": (axes, [each.counts for each in trained]),
            "drawn_count": (axes, drawn),
            "truth_table": ("completion", [f"{f:0{boolean.LENGTH}b}" for f in every]),
            "unfinished": ("net_setting", [each.unfinished for each in trained]),
            "mean_steps": ("net_setting", [each.mean_steps for each in trained]),
            "right_at_start": (
                "net_setting", [each.at_start / config.trainings for each in trained],
            ),
            "accepted": ("net_setting", [each.sum() / config.prior_draws for each in drawn]),
            **columns,
        },
        coords={"net_setting": list(settings), "completion": np.arange(every.size)},
    )  # fmt: skip


@functools.lru_cache(maxsize=8)
def _prior(config: Config, scale: float) -> np.ndarray:
    """Count the functions of the prior once for all targets."""
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    return boolean.prior_counts(boolean.net(config.hidden), key, scale, config.prior_draws)


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Make one labelled dataset of all results, with axes problem and target added."""
    names = [target.name for target in boolean.targets()]
    plain = {key: value.drop_attrs() for key, value in results.items()}
    parts = [
        xr.concat([plain[f"{group}.{name}"] for name in PROBLEMS], _axis("problem", PROBLEMS))
        for group in ("endpoints", "curve")
    ]
    functions = [plain[f"functions.{i}"] for i in range(len(names))]
    parts += [xr.concat(functions, _axis("target", names)), plain["exact"]]
    theory = [each.theory for each in problems_of(PROBLEMS)]
    limits = [float(each.learning_coefficient) if each else math.nan for each in theory]
    known = {"learning_coefficient": ("problem", limits)}
    least = 1 / (config.permutations + 1)
    size = {"endpoint_n": config.size, "least_p": least, "tested": config.endpoints // 2}
    return xr.merge(parts).assign(known).assign(size)


def _axis(name: str, labels: Any) -> Any:
    return xr.Variable(name, list(labels))
