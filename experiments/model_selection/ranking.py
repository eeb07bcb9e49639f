"""Rankings of models: Kendall's τ-b with ties by a rule, and protocols on groups of runs."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PROTOCOLS = ("mean", "best", "validated")


def pairs(values: Floats) -> Floats:
    """Return the differences of models i < j, [..., pair] of values [..., model]."""
    i, j = np.triu_indices(values.shape[-1], 1)
    with np.errstate(invalid="ignore"):
        difference = values[..., i] - values[..., j]
    # Two infinite losses are equal.
    return np.where(np.isnan(difference) & np.isinf(values[..., i]), 0.0, difference)


def signs(values: Floats, tolerance: Floats | float = 0.0) -> Floats:
    """Return the order of pairs, 0 for a tie: a difference of at most the ``tolerance``."""
    difference = pairs(values)
    return np.where(np.abs(difference) <= tolerance, 0.0, np.sign(difference))


def tau(score: Floats, order: Floats) -> Floats:
    """Return Kendall's τ-b of scores [..., model] and an order of pairs [..., pair].

    τ-b = Σ s t/√(Σ s² Σ t²) over pairs with s, t ∈ {−1, 0, 1}; NaN where all are ties on one side.

    Source: Kendall, The treatment of ties in ranking problems, Biometrika 33 (1945).
    """
    own = signs(score)
    size = np.sqrt(np.sum(own**2, axis=-1) * np.sum(order**2, axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sum(own * order, axis=-1) / size)


def protocol_scores(test: Floats, validation: Floats, size: int) -> Mapping[str, Floats]:
    """Return what each of ``PROTOCOLS`` reports of disjoint groups of ``size`` runs.

    Losses are [..., run], and scores [..., group]: the mean test loss (protocol B), the least test
    loss (protocol A), and the test loss of the run of least validation loss. Each group is what one
    would have who made so many runs; a mean over all subsets of more runs would be steadier than
    any of them.
    """
    groups = test.shape[-1] // size

    def grouped(values: Floats) -> Floats:
        return values[..., : groups * size].reshape(*values.shape[:-1], groups, size)

    tested, validated = grouped(test), grouped(validation)
    chosen = np.argmin(validated, axis=-1)[..., None]
    return {
        "mean": tested.mean(axis=-1),
        "best": tested.min(axis=-1),
        "validated": np.take_along_axis(tested, chosen, axis=-1)[..., 0],
    }


def regret(score: Floats, loss: Floats) -> Floats:
    """Return by how much the model of least score [..., model] is worse than that of least loss."""
    loss = np.broadcast_to(loss, score.shape)
    chosen = np.argmin(score, axis=-1)[..., None]
    return np.asarray(np.take_along_axis(loss, chosen, axis=-1)[..., 0] - loss.min(axis=-1))
