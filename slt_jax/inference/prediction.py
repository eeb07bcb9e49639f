"""Predictions of a regression: moments and intervals of y at given inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, sici

from slt_jax.curves.predictions import checked_inputs, function_values
from slt_jax.model import Regression
from slt_jax.problem import Problem
from slt_jax.run.quantities import Quantity, labelled
from slt_jax.shapes import datum_of
from slt_jax.statistics import Data
from slt_jax.validation import Between, check

if TYPE_CHECKING:
    import xarray as xr

# A density of y is smooth on the scale of the noise: with so many points to a standard deviation
# its band-limited interpolation errs by exp(−π²k²/2) = 3e-9.
POINTS_OF_NOISE = 2
TAIL_IN_NOISE = 8.0
WIDENINGS = 6
POINTS_AT_ONCE = 4096
BISECTIONS = 60
MAX_MISSING = 1e-6

PREDICTED = {
    "mean": Quantity("predictive mean of y", "those of y"),
    "standard_deviation": Quantity("predictive standard deviation of y", "those of y"),
    "low": Quantity("lower end of the predictive interval of y", "those of y"),
    "high": Quantity("upper end of the predictive interval of y", "those of y"),
}

Floats = NDArray[np.float64]
Coverage = Annotated[float, Between(0, 1)]


def predicted_by_draws(
    problem: Problem, positions: Floats, x: ArrayLike, coverage: float
) -> xr.Dataset:
    """Predict by draws [K, d] of a posterior, whose predictive is a mixture of normal densities."""
    model, inputs = _checked(problem, x, coverage)
    outputs = np.moveaxis(function_values(problem, positions, inputs), 0, -1)
    sigma = float(model.noise)

    def below(y: Floats) -> Floats:
        return ndtr((y[..., None] - outputs) / sigma).mean(axis=-1)

    reach = TAIL_IN_NOISE * sigma
    low, high = outputs.min(axis=-1) - reach, outputs.max(axis=-1) + reach
    spread = np.hypot(sigma, outputs.std(axis=-1))
    return _dataset(outputs.mean(axis=-1), spread, below, low, high, coverage)


def predicted_by_densities(
    problem: Problem,
    density: Callable[[Data], Floats],
    data: Data,
    x: ArrayLike,
    coverage: float,
) -> xr.Dataset:
    """Predict by the predictive density of points (x, y), for a model with one output.

    The density is summed over a grid of y as wide as it needs: a mixture of normal densities is
    as good as limited to the frequencies that the grid holds, and the sums converge geometrically.
    """
    model, inputs = _checked(problem, x, coverage)
    shape = datum_of(problem)[1].shape
    if np.prod(shape, dtype=int) != 1:
        raise ValueError(f"{problem.name}: y has shape {shape}; exact predictions need one output")
    step = float(model.noise) / POINTS_OF_NOISE
    low, high = float(np.min(data.y)), float(np.max(data.y))
    reach = TAIL_IN_NOISE * float(model.noise)
    for _ in range(WIDENINGS):
        grid = np.arange(low - reach, high + reach + step, step)
        values = _on_grid(density, inputs, grid, shape)
        missing = np.abs(1 - values.sum(axis=1) * step)
        if np.all(missing < MAX_MISSING):
            break
        reach *= 2
    else:
        worst = int(np.argmax(missing))
        raise ValueError(
            f"x[{worst}] = {inputs[worst].tolist()}: predictions reach beyond {grid[0]:.3g} and "
            f"{grid[-1]:.3g}; sample the posterior instead"
        )
    mean = (values * grid).sum(axis=1) * step
    variance = (values * (grid - mean[:, None]) ** 2).sum(axis=1) * step

    def below(y: Floats) -> Floats:
        integrals = 0.5 + sici(np.pi * (y - grid) / step)[0] / np.pi
        return (values * integrals).sum(axis=1, keepdims=True) * step

    low_end, high_end = (np.full((len(inputs), 1), end) for end in (grid[0], grid[-1]))
    spread = np.sqrt(variance)[:, None]
    return _dataset(mean[:, None], spread, below, low_end, high_end, coverage)


def _checked(problem: Problem, x: Any, coverage: Any) -> tuple[Regression, Floats]:
    check("coverage", coverage, Coverage)
    if not isinstance(problem.model, Regression):
        raise ValueError(
            f"{problem.name}: predictions need a regression; "
            "log_predictive_density gives the density of any (x, y)"
        )
    return problem.model, checked_inputs(problem, x)


def _on_grid(
    density: Callable[[Data], Floats], inputs: Floats, grid: Floats, shape: tuple[int, ...]
) -> Floats:
    """Densities [N, K] of the grid [K] of y at each input."""
    x: Any = np.repeat(inputs, len(grid), axis=0)
    y: Any = np.tile(grid, len(inputs)).reshape(-1, *shape)
    parts = [
        density(Data(x[i : i + POINTS_AT_ONCE], y[i : i + POINTS_AT_ONCE]))
        for i in range(0, len(x), POINTS_AT_ONCE)
    ]
    return np.concatenate(parts).reshape(len(inputs), len(grid))


def _dataset(
    mean: Floats,
    spread: Floats,
    below: Callable[[Floats], Floats],
    low: Floats,
    high: Floats,
    coverage: float,
) -> xr.Dataset:
    """Moments [N, output], and quantiles of a distribution function between given ends."""
    import xarray as xr

    axes = ("datum", "output")
    ends = [
        _quantile(below, share, low, high) for share in ((1 - coverage) / 2, (1 + coverage) / 2)
    ]
    variables = zip(
        ("mean", "standard_deviation", "low", "high"), (mean, spread, *ends), strict=True
    )
    dataset = xr.Dataset(
        {name: (axes, values) for name, values in variables}, attrs={"coverage": coverage}
    )
    return labelled(dataset, PREDICTED)


def _quantile(below: Callable[[Floats], Floats], share: float, low: Floats, high: Floats) -> Floats:
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        is_below = below(middle) < share
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return (low + high) / 2
