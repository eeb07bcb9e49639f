"""Two weights of a ReLU unit, in polar coordinates, split at the breakpoints of the data.

The output of the unit is r·σ(u·z) with r the length and u the direction of its weights, so that
the integrand is smooth in r, and in the angle between any two of the breakpoints u·z_i = 0. Where
data are many these are close and each of them is weak: some are left inside of panels, and what
that costs is part of the difference between two orders on the same panels.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.oracles.block import BlockStatistics
from slt_jax.oracles.laws.charts import Chart, angle_axis, chi_axis, from_polar
from slt_jax.oracles.laws.cuts import Cut, length_cut
from slt_jax.oracles.laws.law import Law, NodeBlock, Resolution, at_once, finest_panel
from slt_jax.oracles.laws.lengths import chi_rule
from slt_jax.oracles.quadrature import graded_edges, panel_rule
from slt_jax.run.compilation import jit_at_first_call

if TYPE_CHECKING:
    from slt_jax.oracles.moments import Posterior

MOST_SPLIT = 2700
ANGLES, LENGTHS = 64, 32
CLOSEST = 1e-9


class Rays(NamedTuple):
    """``directions`` [D, l], and ``lengths`` [L] on each of them, of a unit homogeneous in l.

    Nodes [D·L, l] are their products, the length changing fastest.
    """

    directions: Array
    lengths: Array

    def statistics(self, posterior: "Posterior") -> BlockStatistics:
        """Statistics of the data at all nodes, seen in the directions alone."""
        return compiled_rays(posterior.statistics_at(self.directions), self.lengths)


@dataclass(frozen=True)
class BreakpointsLatent(Law):
    """Two N(0, scale²) weights of a unit that is homogeneous in them, with a kink at 0.

    They multiply the two entries of x, or x and 1 with a ``bias``: the unit has a breakpoint where
    they are orthogonal to a datum. ``angles`` are the directions of the true units.
    """

    bias: bool
    scale: float = 1.0
    angles: tuple[float, ...] = ()

    @property
    def is_data_dependent(self) -> bool:
        return True

    def rules(
        self, posteriors: Sequence["Posterior"], resolutions: Sequence[Resolution]
    ) -> list[Iterable[NodeBlock]]:
        (posterior,) = posteriors
        return [self._rule(posterior, each) for each in resolutions]

    def _rule(self, posterior: "Posterior", resolution: Resolution) -> Iterator[NodeBlock]:
        """Yield all lengths of some angles at a time."""
        z, weights = self._inputs(posterior.shards)
        # Squared output per unit of block and weight, over the noise, at β.
        sensitivity = posterior.beta * (posterior.structure.scale / posterior.model.noise) ** 2
        squares = weights @ np.sum(z**2, axis=1)
        finest = finest_panel(sensitivity * squares * self.scale**2)
        angles, shares = panel_rule(
            _angle_edges(z, self.angles, finest, resolution), resolution.order
        )
        lengths = chi_rule(2, finest, resolution)
        size, short = at_once(ANGLES), -len(lengths.nodes) % LENGTHS
        r = self.scale * np.pad(lengths.nodes, (0, short), mode="edge")
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

    def _inputs(self, shards: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """The inputs [n, 2] that the unit's weights multiply, and the a_i [n], where a_i > 0."""
        x = np.concatenate([np.asarray(s.x).reshape(len(s.weights), -1) for s in shards])
        weights = np.concatenate([np.asarray(shard.weights) for shard in shards])
        z = np.column_stack([x, np.ones(len(x))]) if self.bias else x
        return z[weights > 0], weights[weights > 0]

    def cuts(self) -> tuple[Cut, ...]:
        return (length_cut((0, 1), 2, self.scale),)

    def charts(self, nats: float) -> tuple[Chart, ...]:
        axes = (chi_axis(2, self.scale, nats), angle_axis(2 * math.pi))
        return (Chart(axes, place=from_polar, nats=nats),)

    def describe(self) -> str:
        return "length and direction of the weights, split at the breakpoints of the data"


def _angle_edges(
    z: np.ndarray, true: Sequence[float], finest: float, resolution: Resolution
) -> np.ndarray:
    """Edges from −π to π: at the breakpoints of z, or evenly among them, and graded to the true
    units."""
    across = np.arctan2(z[:, 1], z[:, 0])
    splits = np.sort(np.concatenate([_wrapped(across + turn) for turn in (np.pi / 2, -np.pi / 2)]))
    most = round(MOST_SPLIT / (resolution.ratio - 1) ** 2)
    if len(splits) > most:
        splits = splits[np.linspace(0, len(splits) - 1, most).astype(int)]
    centres = [float(_wrapped(np.asarray(angle))) for angle in true]
    graded = graded_edges(-np.pi, np.pi, centres, finest, resolution.ratio, np.pi / 8)
    edges = np.unique(np.concatenate([graded, splits]))
    apart = np.concatenate([[True], np.diff(edges) > CLOSEST])
    apart[-1] = False
    return np.append(edges[apart], np.pi)


def _wrapped(angles: np.ndarray) -> np.ndarray:
    """Wrap angles into [−π, π)."""
    return (angles + np.pi) % (2 * np.pi) - np.pi


def statistics_on_rays(reduced: BlockStatistics, lengths: Array) -> BlockStatistics:
    """Statistics at directions [D] multiplied by lengths [L], leading axis [D·L]."""

    def at_length(length: Array) -> BlockStatistics:
        return BlockStatistics(
            precision=length**2 * reduced.precision,
            score=length * reduced.score,
            energy=reduced.energy,
        )

    on_rays = jax.vmap(at_length, out_axes=1)(lengths)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), on_rays)


compiled_rays = jit_at_first_call(statistics_on_rays)
