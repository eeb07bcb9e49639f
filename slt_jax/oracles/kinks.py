"""A rule for a homogeneous unit of two weights, in polar coordinates, split at the data's kinks.

The output of the unit is r·σ(u·z) with r the length and u the direction of its weights, so that
the integrand is smooth in r, and in the angle between any two of the kinks u·z_i = 0. Where data
are many their kinks are close and each of them is weak: some are left inside of panels, and what
that costs is part of the difference between two orders on the same panels.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from slt_jax.oracles.latents import Resolution, chi_rule
from slt_jax.oracles.moments import NodeBlock, Rays, at_once
from slt_jax.oracles.quadrature import graded_edges, panel_rule
from slt_jax.oracles.structures import KinksLatent
from slt_jax.statistics import WeightedData

KINKS = 2700
ANGLES, LENGTHS = 64, 32
CLOSEST = 1e-9


def kinks_rule(
    latent: KinksLatent, sensitivity: float, pieces: Sequence[Any], resolution: Resolution
) -> Iterator[NodeBlock]:
    """Nodes [N, 2] and log-weights of the weights' prior, all lengths of some angles at a time.

    ``sensitivity`` is the squared output per unit of block and weight, over the noise, at β.
    """
    inputs = [np.asarray(jax.vmap(latent.inputs)(_inputs_of(piece))) for piece in pieces]
    weights = np.concatenate([np.asarray(piece.weights) for piece in pieces])
    z = np.concatenate(inputs)[weights > 0]
    squares = weights[weights > 0] @ np.sum(z**2, axis=1)
    curvature = sensitivity * squares * latent.scale**2
    finest = 0.5 / np.sqrt(curvature + 1.0)
    edges = _angle_edges(z, latent.angles, finest, resolution)
    angles, shares = panel_rule(edges, resolution.order)
    lengths = chi_rule(2, finest, resolution)
    size, short = at_once(ANGLES), -len(lengths.nodes) % LENGTHS
    r = latent.scale * np.pad(lengths.nodes, (0, short), mode="edge")
    log_r = np.pad(np.log(lengths.weights), (0, short), constant_values=-np.inf)
    short = -len(angles) % size
    angles = np.pad(angles, (0, short), mode="edge")
    log_angle = np.pad(np.log(shares / (2 * np.pi)), (0, short), constant_values=-np.inf)
    for start in range(0, len(angles), size):
        here = slice(start, start + size)
        directions = np.column_stack([np.cos(angles[here]), np.sin(angles[here])])
        nodes = r[None, :, None] * directions[:, None, :]
        yield NodeBlock(
            jnp.asarray(nodes.reshape(-1, 2)),
            jnp.asarray(np.add.outer(log_angle[here], log_r).ravel()),
            Rays(jnp.asarray(directions), jnp.asarray(r)),
        )


def _inputs_of(piece: Any) -> Any:
    return piece.data.x if isinstance(piece, WeightedData) else piece.x


def _angle_edges(
    z: np.ndarray, true: Sequence[float], finest: float, resolution: Resolution
) -> np.ndarray:
    """Edges from −π to π: at the kinks of z, or evenly among them, and graded to the true units."""
    across = np.arctan2(z[:, 1], z[:, 0])
    kinks = np.sort(np.concatenate([_wrapped(across + turn) for turn in (np.pi / 2, -np.pi / 2)]))
    most = round(KINKS / (resolution.ratio - 1) ** 2)
    if len(kinks) > most:
        kinks = kinks[np.linspace(0, len(kinks) - 1, most).astype(int)]
    centres = [float(_wrapped(np.asarray(angle))) for angle in true]
    graded = graded_edges(-np.pi, np.pi, centres, finest, resolution.ratio, np.pi / 8)
    edges = np.unique(np.concatenate([graded, kinks]))
    apart = np.concatenate([[True], np.diff(edges) > CLOSEST])
    apart[-1] = False
    return np.append(edges[apart], np.pi)


def _wrapped(angles: np.ndarray) -> np.ndarray:
    """Into [−π, π)."""
    return (angles + np.pi) % (2 * np.pi) - np.pi
