"""SGD ensembles on three problems: their settings, endpoints, and distance from posteriors."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from slt_jax.curves.predictions import function_values
from slt_jax.curves.training import TrainingSettings
from slt_jax.estimators import classifier_two_sample, energy_distance
from slt_jax.inference.training import train_ensemble
from slt_jax.problem import Problem
from slt_jax.statistics import Data

Floats = NDArray[np.float64]

REFERENCE = "reference"
MOMENTUM = 0.9
# A run that stops at a time of 1 in units of 1/η.
EARLY, LATE = 20, 10
POINTS = 16
MIN_ENDPOINTS = 40
AT_ZERO = 1e-3


def settings_of(n: int, slowness: int) -> dict[str, TrainingSettings]:
    """Return the settings of SGD, the reference first and others that differ from it in one thing.

    The reference is that of which Mandt's theory says β = 1: single data, and a step of 2/n.
    """
    steps = slowness * n
    base = TrainingSettings(
        step_size=2 / n, batch_size=1, steps=steps, independent_batches=True
    )  # fmt: skip
    early = max(1, n // 2)
    return {
        REFERENCE: base,
        "step × ¼": base._replace(step_size=base.step_size / 4),
        "step × 4": base._replace(step_size=4 * base.step_size),
        "batch 10": base._replace(batch_size=10),
        "epochs": base._replace(independent_batches=False),
        "momentum": base._replace(step_size=(1 - MOMENTUM) * base.step_size, momentum=MOMENTUM),
        "Adam": base._replace(optimiser="adam", step_size=base.step_size / 4),
        "early stop": base._replace(steps=early),
        "late stop": base._replace(steps=LATE * steps),
        "small start": base._replace(initial_scale=0.1),
        "all data, early": base._replace(batch_size=n, steps=early),
    }


def endpoints_of(
    problem: Problem,
    data: Sequence[Data],
    settings: Sequence[TrainingSettings],
    key: Array,
    seeds: int,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Train, and return endpoints [setting, data set, seed, d] and which runs diverged.

    Each setting is a call of its own: one that all wait for would cost all of them its steps, and
    settings of one batch size share a program.
    """
    shape = (len(settings), len(data), seeds)
    ends, diverged = np.empty((*shape, problem.model.dimension)), np.empty(shape, bool)
    for i, each in enumerate(settings):
        runs = train_ensemble(problem, list(data), each, key=key, seeds=seeds, record=[each.steps])
        ends[i] = runs["position"].to_numpy()[0]
        diverged[i] = runs["diverged"].to_numpy()[0]
    return ends, diverged


def inputs_of(problem: Problem, key: Array) -> Floats:
    """Draw the inputs at which functions are compared, from their law."""
    model: Any = problem.model
    return np.asarray(jax.vmap(model.sample_input)(jax.random.split(key, POINTS)), float)


def growth_at_zero(data: Data, settings: TrainingSettings) -> float:
    """Compute the rate at which SGD leaves w = 0 of y = w₁w₂x or a tanh(bx), per step, exactly.

    There w₁ ± w₂ is multiplied by 1 ± ηxy at each step, so that the rate is the larger of the means
    of log|1 ± ηxy| over the data: below 0 the singularity attracts, noise and all. NaN unless SGD
    takes independent single data without momentum.
    """
    plain = settings.optimiser == "sgd" and settings.momentum == 0
    if not plain or settings.batch_size != 1 or not settings.independent_batches:
        return math.nan
    moves = settings.step_size * np.ravel(np.asarray(data.x, float)) * np.ravel(data.y)
    return float(max(np.mean(np.log(np.abs(1 + sign * moves))) for sign in (1, -1)))


def share_at_zero(w: Floats, n: int) -> float:
    """Compute the share of w [K, 2] whose slope at 0, w₁w₂, is below a thousandth of 1/√n."""
    return float(np.mean(np.abs(w[:, 0] * w[:, 1]) * math.sqrt(n) < AT_ZERO))


class Distance(NamedTuple):
    """Two samples of functions compared: energy coefficient and two p-values."""

    coefficient: float
    accuracy: float
    energy_p: float
    classifier_p: float


def distance(problem: Problem, inputs: Floats, w: Floats, v: Floats, permutations: int) -> Distance:
    """Compare endpoints w [K, d] with draws v [M, d] as functions.

    The coefficient is the energy distance over 2E|X − Y|: 0 for equal laws, 1 for laws of which
    each is a point.
    """
    f, g = (function_values(problem, each, inputs)[..., 0] for each in (w, v))
    energy = energy_distance(f, g, permutations=permutations)
    classifier = classifier_two_sample(f, g, permutations=permutations)
    between = _mean_distance(f, g)
    return Distance(
        energy.value / max(2 * between, np.finfo(float).tiny), classifier.value,
        energy.p_value, classifier.p_value,
    )  # fmt: skip


def _mean_distance(f: Floats, g: Floats) -> float:
    """Compute the mean over pairs of the root mean square difference over points."""
    from scipy.spatial.distance import cdist  # slow to import

    return float(cdist(f, g).mean() / math.sqrt(f.shape[1]))
