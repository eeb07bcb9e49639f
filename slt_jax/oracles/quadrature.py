"""One-dimensional rules in float64, on the host: graded panels and Gauss rules of a measure."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.linalg import eigh_tridiagonal


class UnsettledError(ValueError):
    """No rule of as many nodes as time and memory allow holds the integral."""


class Rule(NamedTuple):
    """Nodes and weights of ∫ f ≈ Σ weight · f(node), both of shape [N]."""

    nodes: np.ndarray
    weights: np.ndarray


def panel_rule(edges: Sequence[float] | np.ndarray, order: int) -> Rule:
    """Gauss–Legendre of ``order`` nodes on every panel between increasing ``edges``."""
    edges = np.asarray(edges, float)
    unit_nodes, unit_weights = _legendre(order)
    half = np.diff(edges)[:, None] / 2
    centre = (edges[1:] + edges[:-1])[:, None] / 2
    return Rule((centre + half * unit_nodes).ravel(), (half * unit_weights).ravel())


_legendre = functools.cache(leggauss)


def graded_edges(
    low: float,
    high: float,
    singular: Sequence[float],
    finest: float,
    ratio: float,
    widest: float = np.inf,
) -> np.ndarray:
    """Panel edges on [low, high] that shrink geometrically towards each singular point.

    Next to a singular point the panels have widths finest, finest·(ratio − 1), … growing by
    ``ratio``; two singular points share the interval between them at its middle. No panel is
    wider than ``widest``.
    """
    inside = sorted({float(s) for s in singular if low <= s <= high})
    stops = sorted({low, high, *inside})
    edges: list[float] = [low]
    for left, right in zip(stops, stops[1:], strict=False):
        left_graded, right_graded = left in inside, right in inside
        middle = {
            (True, True): (left + right) / 2,
            (True, False): right,
            (False, True): left,
            (False, False): right,
        }[left_graded, right_graded]
        # The last of the geometric distances is the length itself: its sum may be off by rounding.
        if left_graded:
            edges.extend(left + _geometric(middle - left, finest, ratio)[:-1])
        edges.append(middle)
        if right_graded:
            edges.extend((right - _geometric(right - middle, finest, ratio)[:-1])[::-1])
        edges.append(right)
    graded = np.unique(np.asarray(edges))
    pieces = np.maximum(1, np.ceil(np.diff(graded) / widest)).astype(int)
    position = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    inner = np.repeat(graded[:-1], pieces) + position * np.repeat(np.diff(graded) / pieces, pieces)
    return np.append(inner, graded[-1])


def _geometric(length: float, finest: float, ratio: float) -> np.ndarray:
    """Distances finest·ratio^k up to ``length``, which is the last."""
    if length <= finest:
        return np.array([length])
    count = int(np.floor(np.log(length / finest) / np.log(ratio)))
    distances = finest * ratio ** np.arange(count + 1)
    if distances[-1] > length / np.sqrt(ratio):
        distances = distances[:-1]
    return np.append(distances, length)


def gauss_rule(positions: np.ndarray, masses: np.ndarray, order: int) -> Rule:
    """Gauss rule of a discrete measure: exact for polynomials of degree 2·order − 1.

    Stieltjes' procedure as a Lanczos iteration with full reorthogonalisation, then
    Golub–Welsch (Gautschi, *Orthogonal Polynomials*, §2.2–2.3). Raises UnsettledError if fewer
    positive masses than ``order`` are given.
    """
    keep = masses > 0
    positions, masses = positions[keep], masses[keep]
    if len(positions) < order:
        raise UnsettledError(f"{len(positions)} masses cannot carry a Gauss rule of order {order}")
    total = masses.sum()
    vector = np.sqrt(masses / total)
    basis, diagonal, off_diagonal = [vector], [], []
    for _ in range(order):
        image = positions * basis[-1]
        diagonal.append(float(basis[-1] @ image))
        for previous in (*basis, *basis):
            image = image - (previous @ image) * previous
        norm = float(np.linalg.norm(image))
        off_diagonal.append(norm)
        basis.append(image / norm)
    nodes, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off_diagonal[:-1]))
    return Rule(nodes, total * vectors[0] ** 2)
