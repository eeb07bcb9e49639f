"""Rules for the length of a normal vector, and for a direction in the plane."""

import numpy as np

from slt_jax.oracles.laws.charts import log_chi_density
from slt_jax.oracles.laws.cuts import LENGTH_REACH
from slt_jax.oracles.laws.law import PRIOR_PANEL, LatentRule, Resolution, tensor_rule
from slt_jax.oracles.quadrature import Rule, graded_edges, panel_rule


def chi_rule(degrees: int, finest: float, resolution: Resolution) -> Rule:
    """Length of a standard normal vector of ``degrees`` entries, graded towards 0."""
    high = np.sqrt(degrees) + LENGTH_REACH
    edges = graded_edges(0.0, high, (0.0,), finest, resolution.ratio, PRIOR_PANEL)
    rule = panel_rule(edges, resolution.order)
    return Rule(rule.nodes, rule.weights * np.exp(log_chi_density(degrees, rule.nodes)))


def angle_rule(direction: tuple[float, ...], finest: float, resolution: Resolution) -> Rule:
    """Uniform distribution on [0, π), graded towards a ``direction`` [2] if there is one."""
    if not direction:
        count = resolution.periodic
        return Rule(np.pi * np.arange(count) / count, np.full(count, 1 / count))
    centre = float(np.arctan2(direction[1], direction[0]))
    edges = graded_edges(
        centre - np.pi / 2, centre + np.pi / 2, (centre,), finest, resolution.ratio
    )
    rule = panel_rule(edges, resolution.order)
    return Rule(rule.nodes, rule.weights / np.pi)


def row_rule(radial: Rule, angle: Rule, scale: float) -> LatentRule:
    """Nodes (r cos θ, r sin θ) [N, 2] of a length r, in units of the scale, and any direction."""
    both = tensor_rule([radial, angle])
    r, theta = both.nodes.T
    nodes = scale * r[:, None] * np.column_stack([np.cos(theta), np.sin(theta)])
    return LatentRule(nodes, both.log_weights)


def turned_rule(values: np.ndarray, logs: np.ndarray, angle: Rule, scale: float) -> LatentRule:
    """Nodes diag(s₁, s₂)·rotation [N, 4] of pairs ``values``, in units of the scale, and an angle.

    ``logs`` are the log-weights of the pairs.
    """
    count = len(angle.nodes)
    s = np.repeat(values, count, axis=0) * scale
    theta = np.tile(angle.nodes, len(values))
    rotation = np.column_stack([np.cos(theta), np.sin(theta), -np.sin(theta), np.cos(theta)])
    nodes = rotation * np.repeat(s, 2, axis=1)
    return LatentRule(nodes, np.repeat(logs, count) + np.tile(np.log(angle.weights), len(values)))
