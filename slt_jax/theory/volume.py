"""The prior volume of {K < ε} by multilevel splitting, for ε far below what draws would reach."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.scaling import Floats, Scaling
from slt_jax.validation import real_array


def volume_scaling(
    excess: Callable[[Floats], Floats],
    low: ArrayLike,
    high: ArrayLike,
    rng: np.random.Generator,
    *,
    log_n: ArrayLike,
    particles: int = 1000,
    replicates: int = 12,
    sweeps: int = 20,
) -> Scaling:
    """Estimate V(1/n), the prior probability of {K < 1/n} for w uniform on a box, without bias.

    V(ε) ~ ε^λ (log 1/ε)^{m − 1}, so that V(1/n) scales as the evidence does. Particles in
    {K < 1/n_i} are kept if K < 1/n_{i+1} and replaced by copies of kept ones otherwise, then moved
    by a Markov chain that leaves the uniform law on {K < 1/n_{i+1}} as it is. The product of the
    kept shares is unbiased however well the chain mixes, because the levels are fixed and the
    sizes of the moves are tuned in a run of its own; poor mixing shows in the spread of the
    independent replicates. Moves add normal steps to some coordinates, or multiply some by a
    factor and others by its inverse, which runs along the fibres of products; put the singular
    point at w = 0 to profit from the latter.

    ``excess`` is K, which maps [N, d] to [N]; it is never NaN, and inf leaves w out of the prior's
    support. ``low`` and ``high`` [d] are the corners of the box. ``log_n`` [I] are increasing
    levels, the first with a V that plain draws find; steps of about 1/λ keep a third of the
    particles. ``particles`` are those of each replicate. Returns log V of shape [replicates, I], in
    total nats. Raises ValueError naming the argument and its value where it is not as above, where
    K is NaN, and where no particle of a replicate is left.

    Source: Cerou, Del Moral, Furon and Guyader, Sequential Monte Carlo for rare event estimation,
    Statistics and Computing 22 (2012) 795-808.
    """
    corners = real_array("low", low), real_array("high", high)
    levels = real_array("log_n", log_n)
    if corners[0].ndim != 1 or not np.all(corners[0] < corners[1]):
        raise ValueError(f"low={low!r}, high={high!r}; allowed: vectors with low < high")
    if levels.ndim != 1 or not np.all(np.diff(levels) > 0):
        raise ValueError(f"log_n={log_n!r}; allowed: an increasing vector")
    count = checked_integer("particles", particles, 2)
    groups = checked_integer("replicates", replicates, 2)
    rounds = checked_integer("sweeps", sweeps, 1)
    tune, run = (
        partial(_descend, excess, levels, corners, group, count, rounds, rng)
        for group in (1, groups)
    )
    return Scaling(levels, run(tune(None)[1])[0])


def _descend(
    excess: Callable[[Floats], Floats],
    levels: Floats,
    corners: tuple[Floats, Floats],
    groups: int,
    count: int,
    rounds: int,
    rng: np.random.Generator,
    weights: list[Floats] | None,
) -> tuple[Floats, list[Floats]]:
    """Return log V [groups, I], and how often each move is tried at each level; None tunes that."""
    moves = _moves(levels[-1])
    used = weights or [np.full(len(moves), 1 / len(moves))]
    w = rng.uniform(*corners, size=(groups * count, len(corners[0])))
    k = _checked(excess(w))
    log_volume = np.zeros((groups, len(levels)))
    for i, level in enumerate(levels):
        kept = (k < np.exp(-level)).reshape(groups, count)
        shares = kept.mean(axis=1)
        if not shares.all():
            raise ValueError(
                f"particles={count}: none of a replicate below log_n={level:g}; allowed: more, or "
                f"smaller steps of log_n"
            )
        log_volume[:, i] = np.log(shares) + (log_volume[:, i - 1] if i else 0.0)
        source = _copies(kept, rng)
        w, k = w[source], k[source]
        # One more of each, so that a move that has not been tried is.
        tried, accepted = np.full(len(moves), 2.0), np.ones(len(moves))
        for _ in range(rounds):
            chosen = rng.choice(len(moves), p=used[i], size=len(k))
            w, k, moved = _move(excess, w, k, level, corners, moves[chosen], rng)
            tried += np.bincount(chosen, minlength=len(moves))
            accepted += np.bincount(chosen[moved], minlength=len(moves))
        if weights is None:
            # A move that is always accepted is too small, one that never is too large.
            value = accepted / tried * (1 - accepted / tried)
            used.append(value / value.sum())
    return log_volume, used


def _moves(last_level: float) -> Floats:
    """List all kinds of move, [J, 3]: multiplies or not, share of coordinates, log of the size.

    K is of second order or higher, so that its sets are about as wide as the root of a level.
    """
    added = np.arange(-0.5 * last_level - 4.0, 0.5)
    sizes = [(0.0, x) for x in added] + [(1.0, x) for x in (-2.0, -1.0, 0.0, 1.0)]
    return np.array([(kind, share, x) for share in (0.0, 0.5, 1.0) for kind, x in sizes])


def _checked(k: Floats) -> Floats:
    if np.isnan(k).any():
        raise ValueError("excess returned nan; allowed: numbers ≥ 0 and inf")
    return k


def _copies(kept: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return flat indices: each place of a replicate itself if kept, else a random kept one."""
    groups, count = kept.shape
    kept_first = np.argsort(~kept, axis=1, kind="stable")
    drawn = (rng.random((groups, count)) * kept.sum(axis=1, keepdims=True)).astype(int)
    chosen = np.where(kept, np.arange(count), np.take_along_axis(kept_first, drawn, axis=1))
    return (chosen + count * np.arange(groups)[:, None]).ravel()


def _move(
    excess: Callable[[Floats], Floats],
    w: Floats,
    k: Floats,
    level: float,
    corners: tuple[Floats, Floats],
    moves: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Move every particle by one Metropolis step inside {K < e^{−level}}, and say which moved."""
    number, dim = w.shape
    multiplies, share, log_size = moves[:, :1] > 0, moves[:, 1:2], moves[:, 2:]
    chosen = np.asarray(rng.random((number, dim)) < share)
    chosen[np.arange(number), rng.integers(dim, size=number)] = True
    normal = np.exp(log_size) * rng.standard_normal((number, dim))
    # One factor for all chosen coordinates, or its inverse.
    direction = chosen * rng.choice([-1.0, 1.0], size=(number, dim))
    log_factor = normal[:, :1] * direction
    added = w + chosen * normal * (corners[1] - corners[0])
    proposed = np.where(multiplies, w * np.exp(log_factor), added)
    log_jacobian = np.where(multiplies, log_factor, 0.0).sum(axis=1)

    accepted = np.log(rng.random(number)) < log_jacobian
    accepted &= np.all((proposed >= corners[0]) & (proposed <= corners[1]), axis=1)
    proposed_k = k.copy()
    proposed_k[accepted] = _checked(excess(proposed[accepted]))
    accepted &= proposed_k < np.exp(-level)
    return (
        np.where(accepted[:, None], proposed, w),
        np.where(accepted, proposed_k, k),
        accepted,
    )
