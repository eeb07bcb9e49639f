"""SGD runs of a model on all data sets, and what they lose on test data and in expectation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from slt_jax import TrainingSettings, train_ensemble
from slt_jax.curves.predictions import function_values
from slt_jax.model import Regression
from slt_jax.problem import Problem
from slt_jax.statistics import Data

from . import Config
from .families import Points, Sample

Cells = list[tuple[float, int]]


class Scores(NamedTuple):
    """Losses of runs relative to the truth's on the same points, nats per datum.

    ``true`` [cell, R, run] in expectation; ``test`` and ``validation`` [cell, R, run, T] on as many
    data.
    """

    true: np.ndarray
    test: np.ndarray
    validation: np.ndarray


def inputs_of(model: Any, x: np.ndarray) -> Any:
    """Return inputs [m, d] in the shape that the model takes, [m] where an input is a scalar."""
    scalar = model.input_distribution()
    return x[..., 0] if scalar is not None and scalar.shape() == () else x


def trained(
    model: Regression, config: Config, data: Sample, cells: Cells
) -> tuple[Problem, np.ndarray, np.ndarray]:
    """Train runs of all cells and data sets; return the positions [cell, R, run, d], diverged."""
    problem = Problem("competitor", model)
    sets = [
        Data(inputs_of(model, data.x[r, :n]), data.truth[r, :n] / noise + data.noise[r, :n])
        for noise, n in cells
        for r in range(len(data.x))
    ]
    settings = TrainingSettings(
        step_size=config.step_size, batch_size=config.batch_size, steps=config.steps
    )
    key = jax.random.key(config.seed)
    ends = train_ensemble(problem, sets, settings, key=key, seeds=config.runs, record=())
    shape = (len(cells), len(data.x), config.runs)
    positions = ends["position"].to_numpy()[0].reshape(*shape, -1)
    return problem, positions, ends["diverged"].to_numpy()[0].reshape(shape)


def run_outputs(problem: Problem, positions: np.ndarray, r: int, x: np.ndarray) -> np.ndarray:
    """Return f at inputs [m, d] of the runs on data set r, [cell, run, m, q]."""
    return np.asarray(function_values(problem, positions[:, r], inputs_of(problem.model, x)))


def scored(
    outputs_of: Callable[[int, np.ndarray], np.ndarray], diverged: np.ndarray, cells: Cells,
    points: Points, tests: tuple[Sample, Sample], sizes: tuple[int, ...],
) -> Scores:  # fmt: skip
    """Compute the losses of runs from their ``outputs_of`` (r, x); diverged ones have infinite.

    ``tests`` are the test and the validation data of each data set, of which the first T count.
    """
    scale = np.array([1 / noise for noise, _ in cells])[:, None, None, None]
    collected: list[list[np.ndarray]] = [[], [], []]
    for r in range(diverged.shape[1]):
        gap = outputs_of(r, points.x) - scale * points.truth
        collected[0].append(np.sum(gap**2, axis=-1) @ points.weights / 2)
        for i, test in enumerate(tests):
            gap = outputs_of(r, test.x[r]) - scale * test.truth[r]
            sums = np.cumsum(np.sum(gap * (gap - 2 * test.noise[r]), axis=-1) / 2, axis=-1)
            collected[1 + i].append(np.stack([sums[..., t - 1] / t for t in sizes], axis=-1))
    true, test_loss, validation = (np.stack(part, axis=1) for part in collected)
    lost = np.where(diverged, np.inf, 0.0)
    return Scores(true + lost, test_loss + lost[..., None], validation + lost[..., None])
