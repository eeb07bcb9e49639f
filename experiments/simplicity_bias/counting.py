"""Counts of the functions that a map draws, with intervals of their probabilities."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from . import BLOCK
from .complexity import lempel_ziv
from .maps import WORDS, Map, Scales, draw


class Counts(NamedTuple):
    """Different functions as words [N, 4], in order, how often each was drawn, and its K [N]."""

    words: np.ndarray
    drawn: np.ndarray
    complexity: np.ndarray


@jax.jit
def _sorted(words: Array) -> tuple[Array, Array]:
    """Sort functions [N, 4], and say which differ from the one before."""
    columns = jax.lax.sort([words[:, i] for i in range(WORDS)], num_keys=WORDS)
    ordered = jnp.stack(columns, axis=1)
    differs = jnp.any(ordered[1:] != ordered[:-1], axis=1)
    return ordered, jnp.concatenate([jnp.ones(1, bool), differs])


def counted(words: Array) -> Counts:
    """Count how often each function stands in words [draws, 4], sorted on the device."""
    ordered, new = map(np.asarray, _sorted(words))
    starts = np.flatnonzero(new)
    distinct = ordered[starts]
    return Counts(distinct, np.diff(np.append(starts, len(ordered))), lempel_ziv(distinct))


def merged(parts: list[Counts]) -> Counts:
    """Add up counts of several batches."""
    words, drawn, complexity = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort(words.T[::-1])
    words = words[order]
    starts = np.flatnonzero(np.append(True, np.any(words[1:] != words[:-1], axis=1)))
    added = np.add.reduceat(drawn[order], starts)
    return Counts(words[starts], added, complexity[order][starts])


def drawn_counts(at: Map, key: Array, draws: int, batch: int, scales: Scales) -> Counts:
    """Draw functions of a map, a batch on the device at a time, and count them.

    ``draws`` is a multiple of ``batch``, and that of 512. The draws depend on the key alone, not on
    the batch.
    """
    mask = jnp.asarray(np.array(at.mask, np.uint32))
    blocks = batch // BLOCK
    parts: list[Counts] = []
    for i in range(draws // batch):
        words = draw(at.logits, blocks, key, jnp.asarray(i * blocks), scales, mask)
        parts.append(counted(words))
    return merged(parts)


def wilson(count: np.ndarray, draws: int, deviations: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's interval of a binomial probability, so many standard deviations wide.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22
    (1927) 209–212.
    """
    share, square = count / draws, deviations**2 / draws
    middle = (share + square / 2) / (1 + square)
    half = np.sqrt(square * share * (1 - share) + square**2 / 4) / (1 + square)
    return middle - half, middle + half
