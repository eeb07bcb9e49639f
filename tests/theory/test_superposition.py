from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import minimize

from slt_jax.theory import superposition_polygon


def loss(columns: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The integral of (max(g t + b, 0) − t [i = j])² over t, summed: [N, 2, c], [N, c] → [N]."""
    g = np.einsum("nki,nkj->nij", columns, columns)
    g = np.where(g == 0, 1e-300, g)
    b = bias[:, None, :]
    root = np.clip(-b / g, 0.0, 1.0)
    low, high = np.where(g > 0, root, 0.0), np.where(g > 0, 1.0, root)
    own = np.eye(g.shape[-1])
    slope = g - own
    inside = [t * ((slope * t) ** 2 / 3 + slope * t * b + b**2) for t in (low, high)]
    return (inside[1] - inside[0] + own * (low**3 + 1 - high**3) / 3).sum(axis=(1, 2))


def split(w: np.ndarray, features: int) -> tuple[np.ndarray, np.ndarray]:
    return w[:, : 2 * features].reshape(-1, 2, features), w[:, 2 * features :]


def polygon(sides: int, radius: float, bias: float) -> np.ndarray:
    angle = 2 * np.pi / sides * np.arange(sides)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle), np.full(sides, bias)])


def test_by_hand():
    for features, sides, expected in [
        (4, 4, Fraction(11, 2)),
        (6, 4, Fraction(15, 2)),
        (5, 5, Fraction(7)),
        (6, 5, Fraction(7)),
        (6, 6, Fraction(17, 2)),
    ]:
        theory = superposition_polygon(features, sides)
        assert (theory.learning_coefficient, theory.multiplicity) == (expected, 1)


def test_loss_by_the_midpoint_rule():
    w = np.random.default_rng(0).normal(size=(20, 9))
    columns, bias = split(w, 3)
    t = (np.arange(2000) + 0.5) / 2000
    g = np.einsum("nki,nkj->nij", columns, columns)
    output = np.maximum(g[..., None] * t + bias[:, None, :, None], 0.0)
    direct = ((output - np.eye(3)[..., None] * t) ** 2).mean(axis=-1).sum(axis=(1, 2))
    np.testing.assert_allclose(loss(columns, bias), direct, rtol=1e-4)


@pytest.mark.parametrize("sides", [5, 6, 7, 8, 9])
def test_polygons_are_minima_up_to_rotation(sides):
    """All eigenvalues of the Hessian but one are positive; further features are idle nearby."""

    def at(w: np.ndarray) -> np.ndarray:
        return loss(*split(w, sides))

    best = minimize(lambda p: at(polygon(sides, *p)[None])[0], [1.3, -0.6], tol=1e-12)
    radius, bias = best.x
    corner = polygon(sides, radius, bias)
    size, h = 3 * sides, 1e-3
    steps = h * np.eye(size)
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    shifted = [
        at((corner + s * steps[:, None] + t * steps[None]).reshape(-1, size)) for s, t in signs
    ]
    hessian = (shifted[0] - shifted[1] - shifted[2] + shifted[3]).reshape(size, size) / (4 * h * h)
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert abs(eigenvalues[0]) < 1e-3
    assert eigenvalues[1] > 5e-3

    columns, biases = split(corner[None], sides)
    rng = np.random.default_rng(1)
    nearby = rng.uniform(-0.1, 0.1, size=(100, 2, 1)), rng.uniform(-0.4, -0.3, size=(100, 1))
    wider = loss(
        np.concatenate([np.broadcast_to(columns, (100, 2, sides)), nearby[0]], axis=2),
        np.concatenate([np.broadcast_to(biases, (100, sides)), nearby[1]], axis=1),
    )
    np.testing.assert_allclose(wider, wider[0], rtol=1e-12)


@pytest.mark.parametrize("features", [4, 5, 6])
def test_square_is_quadratic_on_both_sides(features):
    """K over the squared distance, in all directions but rotation and the idle biases."""
    columns = np.zeros((2, features))
    columns[0, [0, 2]], columns[1, [1, 3]] = (1.0, -1.0), (1.0, -1.0)
    bias = np.where(np.arange(features) < 4, 0.0, -0.5)
    rng = np.random.default_rng(2)
    for size in (1e-2, 1e-4):
        # Directions of few coordinates too: the least ratios are there.
        shape = (5000, 3 * features)
        direction = rng.standard_normal(shape) * (rng.random(shape) < rng.random((5000, 1)))
        direction[:, features] = 0.0  # the first column stays on its axis
        change = size * direction
        k = loss(columns + split(change, features)[0], bias + split(change, features)[1])
        k = k - (features - 4) / 3
        change[:, 2 * features + 4 :] = 0.0
        distance = (change**2).sum(axis=1)
        ratio = k[distance > 0] / distance[distance > 0]
        assert ratio.min() > 0.01
        assert ratio.max() < 10.0
