"""Sums over the nodes of a rule and over data, streamed in blocks through compiled programs.

Neither the number of nodes nor of data, data sets or β is a shape of a compiled program, so that
a rule and a data set may have any size and memory stays bounded.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.model import Model, Regression
from slt_jax.oracles.collapse import (
    BlockPosterior,
    BlockStatistics,
    Units,
    UnitSums,
    block_posterior,
    combined,
    datum_law,
    log_block_evidence,
    node_statistics,
    unit_sums,
)
from slt_jax.oracles.cuts import Cut, beyond
from slt_jax.oracles.latents import LatentRule
from slt_jax.oracles.structures import LinearBlock, Structure
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.statistics import Data, Params

BLOCK = 2048
FEW = 32
DATA_BLOCK = 128
ACCELERATED = 16
# Lists of units and pairs of lists that are seen at a time.
LISTS, PAIRS = 8, 1
# Nodes that are carried beyond a cut, to see what evidence there is.
LIKELY = 16

# Bounds [N], in nats, of the error of the log evidence at nodes [N, l], given the statistics there
# and the log terms [N] relative to the largest so far.
NodeErrors = Callable[[np.ndarray, BlockStatistics, np.ndarray], np.ndarray]


class Combinations(NamedTuple):
    """Of N cells all combinations of one unit of each of G lists: places in sums over data.

    ``lists`` [N, G] and ``pairs`` [N, G(G − 1)/2] as in ``combined``.
    """

    sums: UnitSums
    lists: Array
    pairs: Array


class Rays(NamedTuple):
    """``directions`` [D, l], and ``lengths`` [L] on each of them, of a unit homogeneous in l."""

    directions: Array
    lengths: Array


class NodeBlock(NamedTuple):
    """Nodes [N, l] of a rule with the logarithms [N] of their weights.

    Nodes that are all combinations of some ``factors``, N = cells·m^G or D·L with the last
    changing fastest, have these too, so that the data are seen by factors. Of a rule in cells
    ``cells`` [C] says which ones have the nodes, N/C each, or −1 where there are no more cells.
    """

    nodes: Array
    log_weights: Array
    factors: Combinations | Rays | None = None
    cells: np.ndarray | None = None


class Points(NamedTuple):
    """``size`` data at which the posterior is asked, in blocks of equal length B.

    With each comes ``shifts`` [S, B], the t of log E_w exp(t·g_j), where g_j = ℓ_j(w) − ℓ_j(w₀).
    """

    blocks: Sequence[tuple[Data, Array]]
    optimum: Params
    size: int


class RuleSums(NamedTuple):
    """Posterior quantities of one data set by one rule, relative to w₀.

    ``free_energy`` F(β), ``energy`` E_β[nL_n] and ``energy_variance`` [] in total nats. Of each
    point j: ``mean`` [N] = E_w[g_j], ``variance`` [N], ``log_shifted`` [S, N], in nats. Of a rule
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
    structure: Structure,
    model: Model,
    pieces: Sequence[Any],
    beta: float,
    nodes: Iterable[NodeBlock],
    points: Points | None = None,
    cuts: Sequence[Cut] = (),
    node_errors: NodeErrors | None = None,
) -> RuleSums:
    """All sums over the blocks of a rule, for a data set given as statistics that add up.

    ``cuts`` are where the rule ends, and ``node_errors`` what the evidence at nodes may be off by.

    With ψ the log density at a node, F = −log Σ e^ψ, E = −⟨ψ'⟩ and Var = ⟨ψ''⟩ + Var(ψ'),
    derivatives in β; of a point the same with the derivatives of its cumulant in its weight.
    """
    # A likelihood that is NaN somewhere is refused when the sums become an evaluation.
    with np.errstate(invalid="ignore"):
        exponent, likely = jnp.float64(beta), _Likely()
        sums = _streamed(structure, model, pieces, exponent, nodes, points, likely, node_errors)
        logs = _log_beyond(structure, model, pieces, exponent, cuts, likely.nodes)
        log_left_out = np.logaddexp.reduce(logs, axis=-1) + sums.free_energy
        return sums._replace(log_left_out=log_left_out)


class _Likely:
    """The LIKELY nodes of a rule that have the largest terms."""

    def __init__(self) -> None:
        self.logs, self.nodes = np.full(1, -np.inf), np.zeros((0, 0))

    def add(self, logs: np.ndarray, nodes: Array) -> None:
        """Those of a block as well, if they are among them."""
        if not np.max(logs) > np.min(self.logs):
            return
        best = np.argsort(logs)[-LIKELY:]
        found = np.asarray(nodes)[best]
        together = np.concatenate([self.logs[: len(self.nodes)], logs[best]])
        rows = np.concatenate([self.nodes, found]) if len(self.nodes) else found
        kept = np.argsort(together)[-LIKELY:]
        self.logs, self.nodes = together[kept], rows[kept]


def _log_beyond(
    structure: Structure,
    model: Model,
    pieces: Sequence[Any],
    beta: Array,
    cuts: Sequence[Cut],
    likely: np.ndarray,
) -> np.ndarray:
    """Logs [3] of sums over cuts of the prior mass beyond times the highest evidence there, and
    times the energy that has and its square."""
    if not cuts or not len(likely):
        return np.full((3, 1), -np.inf)
    places = np.stack([beyond(cut, likely) for cut in cuts])
    nodes = places.reshape(-1, likely.shape[1])
    size = at_once(BLOCK)
    padded = np.pad(nodes, ((0, -len(nodes) % size), (0, 0)), mode="edge")
    found = []
    for start in range(0, len(padded), size):
        reduced = statistics_at(structure, model, pieces, jnp.asarray(padded[start:][:size]))
        found.append(compiled_density(reduced, beta, jnp.zeros(size))[:2])
    logs, energies = (
        np.concatenate(part)[: len(nodes)].reshape(places.shape[:3])
        for part in zip(*found, strict=True)
    )
    # Where the likelihood is not a number there is no evidence of any mass.
    logs = np.where(np.isfinite(logs), logs, -np.inf)
    with np.errstate(divide="ignore"):
        sizes = np.log(np.where(np.isfinite(energies), np.abs(energies), 0.0))
    # Of a shell the evidence may be that at its outer end.
    outer = np.concatenate([logs[:, 1:], logs[:, -1:]], axis=1)
    shells = np.maximum(logs, outer) + np.array([cut.log_tails for cut in cuts])[:, :, None]
    return np.array([np.max(shells + k * sizes, axis=2).ravel() for k in range(3)])


def _streamed(
    structure: Structure,
    model: Model,
    pieces: Sequence[Any],
    exponent: Array,
    node_blocks: Iterable[NodeBlock],
    points: Points | None,
    likely: "_Likely",
    node_errors: NodeErrors | None,
) -> RuleSums:
    log_doubt, doubted = -np.inf, -np.inf
    rows, linear, logarithmic, highest = [], np.zeros(()), np.full((), -np.inf), -np.inf
    places, masses = [np.zeros(0, int)], [np.zeros(0)]
    for nodes, log_weights, factors, cells in node_blocks:
        reduced = statistics_at(structure, model, pieces, nodes if factors is None else factors)
        log_terms, _, moments = compiled_density(reduced, exponent, log_weights)
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
            at = (points.optimum, nodes, compiled_posterior(reduced, exponent), log_terms)
            blocks = [compiled_point_sums(structure, model, *at, *block) for block in points.blocks]
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
    """Where 0, 1, … stand among places, of which some are −1."""
    return np.argsort(places, kind="stable")[np.sum(places < 0) :]


def _joined(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F, E and Var of all blocks together; energies far from zero do not cancel in the last."""
    peak, mass, mean, variance = rows.T
    weight = mass * np.exp(peak - peak.max())
    share = weight / weight.sum()
    centre = share @ mean
    total = share @ (variance + (mean - centre) ** 2)
    return -(peak.max() + np.log(weight.sum())), -centre, total


def node_blocks(rule: LatentRule) -> list[NodeBlock]:
    """The rule in blocks of BLOCK nodes, or in one of FEW where that holds them all."""
    size = FEW if len(rule.log_weights) <= FEW else at_once(BLOCK)
    count = -len(rule.log_weights) % size
    nodes = np.pad(rule.nodes, ((0, count), (0, 0)), mode="edge")
    log_weights = np.pad(rule.log_weights, (0, count), constant_values=-np.inf)
    return [
        NodeBlock(jnp.asarray(nodes[here]), jnp.asarray(log_weights[here]))
        for here in (slice(start, start + size) for start in range(0, len(nodes), size))
    ]


def statistics_at(
    structure: Structure, model: Model, pieces: Sequence[Any], nodes: Array | Combinations | Rays
) -> BlockStatistics:
    """Statistics of statistics that add up at nodes [N, l] or combinations, leading axis [N]."""
    match nodes:
        case Combinations():
            return compiled_combined(*nodes)
        case Rays(directions, lengths):
            return compiled_rays(statistics_at(structure, model, pieces, directions), lengths)
        case _:
            return _added([compiled_statistics(structure, model, piece, nodes) for piece in pieces])


def sums_at(
    structure: LinearBlock, model: Regression, pieces: Sequence[Any], units: Units
) -> UnitSums:
    """Sums of statistics that add up at lists of units and at pairs of them."""
    steps = (at_once(LISTS), at_once(PAIRS))
    first, *rest = pieces
    sums = compiled_unit_sums(structure, model, steps, units, first)
    for piece in rest:
        sums = compiled_more_sums(structure, model, steps, units, piece, sums)
    return sums


def at_once(count: int) -> int:
    """How many to take at a time of what a processor takes ``count``."""
    return count if jax.default_backend() == "cpu" else ACCELERATED * count


def _added(parts: Sequence[BlockStatistics]) -> BlockStatistics:
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *p: sum(p), *parts)


def statistics_of_block(
    structure: Structure, model: Model, statistics: Any, nodes: Array
) -> BlockStatistics:
    """Statistics of one statistics at a block of nodes, leading axis [node]."""
    return jax.vmap(lambda node: node_statistics(structure, model, node, statistics))(nodes)


def more_unit_sums(
    structure: LinearBlock,
    model: Regression,
    steps: tuple[int, int],
    units: Units,
    statistics: Any,
    before: UnitSums,
) -> UnitSums:
    """Sums of one statistics more than those before."""
    return jax.tree.map(jnp.add, before, unit_sums(structure, model, steps, units, statistics))


def statistics_of_combinations(sums: UnitSums, lists: Array, pairs: Array) -> BlockStatistics:
    """Statistics at all combinations of the units of each cell, leading axis [cell·m^G]."""
    found = jax.vmap(combined, (None, 0, 0))(sums, lists, pairs)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)


def statistics_on_rays(reduced: BlockStatistics, lengths: Array) -> BlockStatistics:
    """Statistics at directions [D] multiplied by lengths [L], leading axis [D·L]."""

    def at_length(length: Array) -> BlockStatistics:
        return BlockStatistics(
            precision=length**2 * reduced.precision,
            score=length * reduced.score,
            energy=reduced.energy,
        )

    found = jax.vmap(at_length, out_axes=1)(lengths)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)


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
    structure: Structure,
    model: Model,
    optimum: Params,
    nodes: Array,
    posterior: BlockPosterior,
    log_terms: Array,
    data: Data,
    shifts: Array,
) -> tuple[Array, Array]:
    """Of a block of nodes and one of data: Σ e^{ψ − max}·(E g, E g²) [2, D] and log Σ e^ψ E e^{tg}.

    The latter has shape [S, D].
    """

    law = datum_law(structure, model, optimum, nodes, posterior, data)
    mean = law.mean()
    share = jnp.exp(log_terms - jnp.max(log_terms))
    linear = jnp.stack([mean @ share, (law.variance() + mean**2) @ share])
    logs = [jax.nn.logsumexp(log_terms + law.cumulant(shift), axis=1) for shift in shifts]
    return linear, jnp.stack(logs)


compiled_statistics = jit_at_first_call(statistics_of_block, static_argnums=(0, 1))
compiled_unit_sums = jit_at_first_call(unit_sums, static_argnums=(0, 1, 2))
compiled_more_sums = jit_at_first_call(more_unit_sums, static_argnums=(0, 1, 2))
compiled_combined = jit_at_first_call(statistics_of_combinations)
compiled_rays = jit_at_first_call(statistics_on_rays)
compiled_density = jit_at_first_call(density_of_block)
compiled_evidence = jit_at_first_call(evidence_of_block)
compiled_posterior = jit_at_first_call(posterior_of_block)
compiled_point_sums = jit_at_first_call(point_sums, static_argnums=(0, 1))
