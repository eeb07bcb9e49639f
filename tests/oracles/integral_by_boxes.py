"""An integral over one or two parameters with its own search for modes.

It shares nothing with the oracles: no chart, no cells, no sufficient statistics.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.optimize import minimize

FINE, COARSE = 10, 6

LogDensity = Callable[[np.ndarray], np.ndarray]


class Integral(NamedTuple):
    """log Z, how far it may be off, and how many prior standard deviations its mode is out."""

    value: float
    error: float
    farthest: float


def log_integral(log_density: LogDensity, positive: tuple[bool, ...]) -> Integral:
    """log ∫ exp(log_density) over one or two reals or positive numbers.

    Boxes on a mesh out to 10⁶ are halved along every axis where two Gauss rules differ, and around
    modes, that are climbed to from many places, down to their own width.
    """
    mesh = np.concatenate([[0.0], np.geomspace(1e-3, 1e6, 28)])
    both = np.concatenate([-mesh[:0:-1], mesh])
    axes = [mesh if half else both for half in positive]
    boxes = np.array(list(itertools.product(*(itertools.pairwise(axis) for axis in axes))))
    modes = _modes(log_density, axes, positive)
    total, doubt, best = -np.inf, -np.inf, -np.inf
    for _ in range(60):
        fine, coarse = (_box_logs(log_density, boxes, order) for order in (FINE, COARSE))
        best = max(best, np.logaddexp.reduce(np.append(fine, total)))
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.logaddexp(fine, coarse) - best + np.log(np.abs(np.tanh((fine - coarse) / 2)))
        holds = _holds(boxes, modes)
        split = (apart > np.log(1e-11)) | holds
        kept = ~split
        total = np.logaddexp.reduce(np.append(fine[kept], total))
        doubt = np.logaddexp.reduce(np.append((apart + best)[kept], doubt))
        if not np.any(split):
            break
        boxes = _halves(boxes[split])
        assert len(boxes) < 400_000
    assert np.isfinite(total)
    error = float(np.exp(min(doubt - total, 0.0))) + 1e-10
    return Integral(float(total), error, float(np.max(np.abs(modes[0].place))))


class Mode(NamedTuple):
    place: np.ndarray
    width: np.ndarray


def _modes(log_density: LogDensity, axes, positive) -> list[Mode]:
    """Local maxima with their widths, the highest first, by climbing from places of a mesh."""
    middles = [(axis[1:] + axis[:-1]) / 2 for axis in axes]
    mesh = np.stack([g.ravel() for g in np.meshgrid(*middles, indexing="ij")], axis=1)
    values = log_density(mesh)
    starts = mesh[np.argsort(values)[-8:]]
    modes: list[Mode] = []
    for start in starts:
        # In asinh of each coordinate, so that steps suit any size.
        def loss(t):
            place = np.abs(np.sinh(t)) if all(positive) else np.sinh(t)
            value = log_density(place[None])[0]
            return -value if np.isfinite(value) else 1e300

        t = np.arcsinh(start)
        for _ in range(3):
            t = minimize(loss, t, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9}).x
        place = np.abs(np.sinh(t)) if all(positive) else np.sinh(t)
        width = np.array([_width(log_density, place, j) for j in range(len(place))])
        modes.append(Mode(place, width))
    return sorted(modes, key=lambda mode: -log_density(mode.place[None])[0])


def _width(log_density: LogDensity, place: np.ndarray, axis: int) -> float:
    """The distance along an axis at which the density has fallen by a nat."""
    top = log_density(place[None])[0]
    for step in np.geomspace(1e-9, 1e3, 120):
        moved = place.copy()
        moved[axis] += step
        if log_density(moved[None])[0] < top - 1:
            return step
    return 1e3


def _holds(boxes: np.ndarray, modes: list[Mode]) -> np.ndarray:
    """Boxes [N, axis, 2] that hold a mode and are wider than twice its width along an axis."""
    holds = np.zeros(len(boxes), bool)
    low, high = boxes[..., 0], boxes[..., 1]
    for place, width in modes:
        inside = np.all((low <= place) & (place <= high), axis=1)
        holds |= inside & np.any(high - low > 2 * width, axis=1)
    return holds


def _box_logs(log_density: LogDensity, boxes: np.ndarray, order: int) -> np.ndarray:
    nodes, weights = leggauss(order)
    dimension = boxes.shape[1]
    half, centre = np.diff(boxes, axis=2)[..., 0] / 2, np.mean(boxes, axis=2)
    unit = np.stack(np.meshgrid(*[nodes] * dimension, indexing="ij"), axis=-1).reshape(
        -1, dimension
    )
    logs = np.sum(np.meshgrid(*[np.log(weights)] * dimension, indexing="ij"), axis=0).ravel()
    logs_of_parts = []
    for start in range(0, len(boxes), 512):
        part = slice(start, start + 512)
        places = centre[part, None] + half[part, None] * unit
        values = log_density(places.reshape(-1, dimension)).reshape(places.shape[:2])
        values = np.where(np.isnan(values), -np.inf, values)
        logs_of_parts.append(
            np.logaddexp.reduce(values + logs, axis=1) + np.sum(np.log(half[part]), axis=1)
        )
    return np.concatenate(logs_of_parts)


def _halves(boxes: np.ndarray) -> np.ndarray:
    for axis in range(boxes.shape[1]):
        middle = np.mean(boxes[:, axis], axis=1)
        lower, upper = boxes.copy(), boxes.copy()
        lower[:, axis, 1], upper[:, axis, 0] = middle, middle
        boxes = np.concatenate([lower, upper])
    return boxes
