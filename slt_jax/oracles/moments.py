"""Sums over the nodes of a rule and over data, streamed in blocks through compiled programs.

Neither the number of nodes nor of data, data sets or β is a shape of a compiled program, so that
a rule and a data set may have any size and memory stays bounded.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.model import Model
from slt_jax.oracles.block import (
    BlockPosterior,
    BlockStatistics,
    block_posterior,
    log_block_evidence,
)
from slt_jax.oracles.interpolation import NodeErrors
from slt_jax.oracles.laws.cuts import Cut
from slt_jax.oracles.laws.law import BLOCK, NodeBlock, at_once
from slt_jax.oracles.shards import Points, shards_of, stand_for_more, total_weight
from slt_jax.oracles.structures import Structure
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.statistics import Data, Params

# Nodes that are carried beyond a cut, to see what evidence there is.
LIKELY = 16


class Posterior(NamedTuple):
    """The posterior at β of one data set, given as ``statistics`` that add up.

    So do its ``shards``, which serve latents up to ``steepest`` and those that the prior suggests.
    """

    structure: Structure[Any]
    model: Any
    shards: Sequence[Any]
    beta: float
    statistics: Sequence[Any] = ()
    steepest: float | None = None

    @classmethod
    def of(
        cls,
        structure: Structure[Any],
        model: Model,
        statistics: Sequence[Any],
        beta: float,
        steepest: float | None = None,
    ) -> "Posterior":
        """Cut the data into shards."""
        shards = [shard for part in statistics for shard in shards_of(part, structure, steepest)]
        return cls(structure, model, shards, beta, statistics, steepest)

    def reaching(self, steepest: float) -> "Posterior":
        """The same posterior, whose shards serve latents up to ``steepest``."""
        return Posterior.of(self.structure, self.model, self.statistics, self.beta, steepest)

    @property
    def is_moment_matched(self) -> bool:
        """True where pseudo-data stand for more data."""
        return any(stand_for_more(self.shards, part) for part in self.statistics)

    @property
    def size(self) -> float:
        """Σ_i a_i over all shards, the number of data when every weight is one."""
        return sum(map(total_weight, self.shards))

    def statistics_at(self, nodes: Array) -> BlockStatistics:
        """Statistics of the block at nodes [N, l], leading axis [N]."""
        at = (self.structure, self.model)
        return _added([compiled_statistics(*at, shard, nodes) for shard in self.shards])

    def log_evidence(self, reduced: BlockStatistics) -> np.ndarray:
        """Log of the block's evidence at each of N nodes, given the statistics there."""
        beta: Any = np.float64(self.beta)  # which needs no transfer of its own
        return np.asarray(compiled_evidence(reduced, beta))


class RuleSums(NamedTuple):
    """Posterior quantities of one data set by one rule, relative to w₀.

    ``free_energy`` F(β), ``energy`` E_β[nL_n] and ``energy_variance`` [] in total nats. For each
    point j: ``mean`` [N] = E_w[g_j], ``variance`` [N], ``log_shifted`` [S, N], in nats. For a rule
    in cells ``log_masses`` [C] are the logarithms of each one's part of the integral.
    ``log_left_out`` [3] bounds the logs of the integrals of 1, |nL_n| and (nL_n)² beyond the rule's
    cuts, relative to that of 1 within; ``doubt`` [] is by how many nats errors of the evidence at
    nodes may change log Z.
    """

    free_energy: np.ndarray
    energy: np.ndarray
    energy_variance: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    log_shifted: np.ndarray
    log_masses: np.ndarray
    log_left_out: np.ndarray = np.full(3, -np.inf)
    doubt: np.ndarray = np.array(0.0)


def rule_sums(
    posterior: Posterior,
    nodes: Iterable[NodeBlock],
    points: Points | None = None,
    cuts: Sequence[Cut] = (),
    node_errors: NodeErrors | None = None,
) -> RuleSums:
    """All sums over the blocks of a rule.

    ``cuts`` are where the rule ends, and ``node_errors`` what the evidence at nodes may be off by.

    With ψ the log density at a node, F = −log Σ e^ψ, E = −⟨ψ'⟩ and Var = ⟨ψ''⟩ + Var(ψ'),
    derivatives in β; of a point the same with the derivatives of its cumulant in its weight.
    """
    # A likelihood that is NaN somewhere is refused when the sums become an evaluation.
    with np.errstate(invalid="ignore"):
        likely = _Likely()
        sums = _streamed(posterior, nodes, points, likely, node_errors)
        logs = _log_beyond(posterior, cuts, likely.nodes)
        log_left_out = np.logaddexp.reduce(logs, axis=-1) + sums.free_energy
        return sums._replace(log_left_out=log_left_out)


class _Likely:
    """The LIKELY nodes of a rule that have the largest terms."""

    def __init__(self) -> None:
        self.logs, self.nodes = np.full(1, -np.inf), np.zeros((0, 0))

    def add(self, logs: np.ndarray, nodes: Array) -> None:
        """Take in the nodes of a block that are among them."""
        if not np.max(logs) > np.min(self.logs):
            return
        best = np.argsort(logs)[-LIKELY:]
        fresh = np.asarray(nodes)[best]
        together = np.concatenate([self.logs[: len(self.nodes)], logs[best]])
        rows = np.concatenate([self.nodes, fresh]) if len(self.nodes) else fresh
        kept = np.argsort(together)[-LIKELY:]
        self.logs, self.nodes = together[kept], rows[kept]


def _log_beyond(posterior: Posterior, cuts: Sequence[Cut], likely: np.ndarray) -> np.ndarray:
    """Logs [3] of sums over cuts of the prior mass beyond times the highest evidence there, and
    times the energy that has and its square."""
    if not cuts or not len(likely):
        return np.full((3, 1), -np.inf)
    places = np.stack([cut.beyond(likely) for cut in cuts])
    nodes = places.reshape(-1, likely.shape[1])
    size = at_once(BLOCK)
    padded = np.pad(nodes, ((0, -len(nodes) % size), (0, 0)), mode="edge")
    parts, beta = [], jnp.float64(posterior.beta)
    for start in range(0, len(padded), size):
        reduced = posterior.statistics_at(jnp.asarray(padded[start:][:size]))
        parts.append(compiled_density(reduced, beta, jnp.zeros(size))[:2])
    logs, energies = (
        np.concatenate(part)[: len(nodes)].reshape(places.shape[:3])
        for part in zip(*parts, strict=True)
    )
    # Where the likelihood is not a number there is no evidence of any mass.
    logs = np.where(np.isfinite(logs), logs, -np.inf)
    with np.errstate(divide="ignore"):
        sizes = np.log(np.where(np.isfinite(energies), np.abs(energies), 0.0))
    # Of a shell the evidence may be that at its outer end.
    outer = np.concatenate([logs[:, 1:], logs[:, -1:]], axis=1)
    shells = np.maximum(logs, outer) + np.array([cut.log_tails for cut in cuts])[:, :, None]
    # No multiple of log 0 stands for a power of it: without data all energies are 0.
    terms = (shells, shells + sizes, shells + 2 * sizes)
    return np.array([np.max(each, axis=2).ravel() for each in terms])


def _streamed(
    posterior: Posterior,
    node_blocks: Iterable[NodeBlock],
    points: Points | None,
    likely: "_Likely",
    node_errors: NodeErrors | None,
) -> RuleSums:
    beta, at = jnp.float64(posterior.beta), (posterior.structure, posterior.model)
    log_doubt, doubted = -np.inf, -np.inf
    rows, linear, logarithmic, highest = [], np.zeros(()), np.full((), -np.inf), -np.inf
    places, masses = [np.zeros(0, int)], [np.zeros(0)]
    for block in node_blocks:
        nodes, log_weights, _, cells = block
        reduced = block.statistics(posterior)
        log_terms, _, moments = compiled_density(reduced, beta, log_weights)
        rows.append(np.asarray(moments))
        likely.add(np.asarray(log_terms), nodes)
        if node_errors is not None:
            logs = np.asarray(log_terms)
            off = node_errors(np.asarray(nodes), reduced, logs - np.max(likely.logs))
            log_doubt = np.logaddexp(log_doubt, np.logaddexp.reduce(logs + off))
            doubted = np.logaddexp(doubted, np.logaddexp.reduce(logs))
        if cells is not None:
            places.append(cells)
            masses.append(np.logaddexp.reduce(np.reshape(log_terms, (len(cells), -1)), axis=1))
        if points is not None:
            of_block = compiled_posterior(reduced, beta)
            blocks = [
                compiled_point_sums(*at, points.optimum, nodes, of_block, log_terms, *some)
                for some in points.blocks
            ]
            sums, logs = (np.concatenate(part, axis=1) for part in zip(*blocks, strict=True))
            peak = max(highest, rows[-1][0])
            linear = np.exp(highest - peak) * linear + np.exp(rows[-1][0] - peak) * sums
            logarithmic, highest = np.logaddexp(logarithmic, logs), peak
    free_energy, energy, variance = _joined(np.array(rows))
    doubt = np.array(0.0 if node_errors is None else log_doubt - doubted)
    log_masses = np.concatenate(masses)[_order_of(np.concatenate(places))]
    if points is None:
        none = np.zeros(0)
        whole = RuleSums(free_energy, energy, variance, none, none, none, log_masses)
        return whole._replace(doubt=doubt)
    first, second = (linear * np.exp(highest + free_energy))[:, : points.size]
    shifted = logarithmic[:, : points.size] + free_energy
    of_points = (first, second - first**2, shifted)
    return RuleSums(free_energy, energy, variance, *of_points, log_masses)._replace(doubt=doubt)


def _order_of(places: np.ndarray) -> np.ndarray:
    """The positions of 0, 1, … among places, of which some are −1."""
    return np.argsort(places, kind="stable")[np.sum(places < 0) :]


def _joined(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F, E and Var of all blocks together; energies far from zero do not cancel in the last."""
    peak, mass, mean, variance = rows.T
    weight = mass * np.exp(peak - peak.max())
    share = weight / weight.sum()
    centre = share @ mean
    total = share @ (variance + (mean - centre) ** 2)
    return -(peak.max() + np.log(weight.sum())), -centre, total


def _added(parts: Sequence[BlockStatistics]) -> BlockStatistics:
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *p: sum(p), *parts)


def statistics_of_block(
    structure: Structure[Any], model: Model, statistics: Any, nodes: Array
) -> BlockStatistics:
    """Statistics of the block by one shard at some nodes, leading axis [node]."""
    return jax.vmap(lambda node: structure.node_statistics(model, node, statistics))(nodes)


def evidence_of_block(reduced: BlockStatistics, beta: Array) -> Array:
    """Log of the block's evidence at each node [node]."""
    return jax.vmap(log_block_evidence, (0, None))(reduced, beta)


def density_of_block(
    reduced: BlockStatistics, beta: Array, log_weights: Array
) -> tuple[Array, Array, Array]:
    """ψ, the log weight included, and ψ' of each node [node], and of the block [4]: max ψ,
    Σ e^{ψ − max}, mean ψ', and mean ψ'' plus variance of ψ'."""

    def at_node(one: BlockStatistics) -> tuple[Array, Array, Array]:
        def slope(b: Array) -> tuple[Array, Array]:
            return jax.jvp(lambda c: log_block_evidence(one, c), (b,), (jnp.ones_like(b),))

        (value, first), (_, second) = jax.jvp(slope, (beta,), (jnp.ones_like(beta),))
        return value, first, second

    value, slope, curvature = jax.vmap(at_node)(reduced)
    log_terms = value + log_weights
    peak = jnp.max(log_terms)
    terms = jnp.exp(log_terms - peak)
    mass = jnp.sum(terms)
    mean = jnp.sum(terms * slope) / mass
    variance = jnp.sum(terms * (curvature + (slope - mean) ** 2)) / mass
    return log_terms, slope, jnp.stack([peak, mass, mean, variance])


def posterior_of_block(reduced: BlockStatistics, beta: Array) -> BlockPosterior:
    """The posterior of the Gaussian block at each node."""
    return jax.vmap(block_posterior, (0, None))(reduced, beta)


def point_sums(
    structure: Structure[Any],
    model: Model,
    optimum: Params,
    nodes: Array,
    posterior: BlockPosterior,
    log_terms: Array,
    data: Data,
    shifts: Array,
) -> tuple[Array, Array]:
    """Sums over a block of nodes for one of data: Σ e^{ψ − max}·(E g, E g²) [2, D] and
    log Σ e^ψ E e^{tg} [S, D]."""
    fit = structure.datum_fit(model, optimum, nodes, posterior, data)
    mean = fit.mean()
    share = jnp.exp(log_terms - jnp.max(log_terms))
    linear = jnp.stack([mean @ share, (fit.variance() + mean**2) @ share])
    logs = [jax.nn.logsumexp(log_terms + fit.cumulant(shift), axis=1) for shift in shifts]
    return linear, jnp.stack(logs)


compiled_statistics = jit_at_first_call(statistics_of_block, static_argnums=(0, 1))
compiled_density = jit_at_first_call(density_of_block)
compiled_evidence = jit_at_first_call(evidence_of_block)
compiled_posterior = jit_at_first_call(posterior_of_block)
compiled_point_sums = jit_at_first_call(point_sums, static_argnums=(0, 1))
