"""Per-datum moments of the posterior, streamed on device or taken from stored draws.

All that the losses need of draws l[chain, draw, datum] of ℓ_i(w) − ℓ_i(w₀) is, by chain and
block of consecutive draws, the log mean of exp(αl_i) for three powers α and the mean and variance
of l_i: Watanabe's functional cumulants. Blocks are there for the standard errors.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from slt_jax.estimators.estimate import Floats
from slt_jax.validation import (
    Count,
    NonNegative,
    check,
    checked,
    is_traced,
    real_array,
    refuse_first,
)


class LossAccumulator(NamedTuple):
    """Running sums of C chains, B blocks and n data; a tree of arrays for ``scan`` and ``vmap``.

    ``num_draws`` [B] so far; ``log_sums`` [C, B, P, n] of exp(αl_i) with the powers α of
    ``powers_of``; ``means`` and ``squares`` [C, B, n] of l_i, squares about the mean;
    ``energy_squares`` [C, B] of −Σ_i l_i about its mean; ``beta`` is that of the posterior.
    """

    num_draws: Array
    log_sums: Array
    means: Array
    squares: Array
    energy_squares: Array
    beta: Array

    @classmethod
    def empty(
        cls,
        num_chains: int,
        num_blocks: int,
        num_data: int,
        beta: Array | float = 1.0,
        held_out: bool = False,
    ) -> "LossAccumulator":
        """Return an accumulator without draws; the shapes are static and β is data.

        Leaving out data that were trained on needs three powers; ``held_out`` data need one.
        Raises ValueError for a size below 1, and for β that are negative or not finite.
        """
        check("num_chains", num_chains, Count)
        check("num_blocks", num_blocks, Count)
        check("num_data", num_data, Count)
        if not is_traced(beta):
            given = real_array("beta", beta)
            refuse_first("beta", given, np.isfinite(given) & (given >= 0), "must be finite and ≥ 0")
        shape = (num_chains, num_blocks, num_data)
        powers = (num_chains, num_blocks, 1 if held_out else 3, num_data)
        return cls(
            num_draws=jnp.zeros(num_blocks),
            log_sums=jnp.full(powers, -jnp.inf),
            means=jnp.zeros(shape),
            squares=jnp.zeros(shape),
            energy_squares=jnp.zeros(shape[:2]),
            beta=jnp.asarray(beta, float),
        )

    def updated(self, log_ratios: Array, block: Array | int) -> "LossAccumulator":
        """Add a draw l = ``log_ratios`` [C, n] of every chain to the block.

        Rows of padding are 0. Blocks are consecutive and of one length: block = draw // length; a
        draw of a block that is not there is dropped.
        """
        count = self.num_draws[block] + 1
        powers = powers_of(self.beta, self.log_sums.shape[-2])
        grown = jnp.logaddexp(self.log_sums[:, block], powers[:, None] * log_ratios[:, None, :])
        before = self.means[:, block]
        deviation = log_ratios - before
        after = before + deviation / count
        energy_deviation = jnp.sum(deviation, axis=-1)
        return self._replace(
            num_draws=self.num_draws.at[block].set(count),
            log_sums=self.log_sums.at[:, block].set(grown),
            means=self.means.at[:, block].set(after),
            squares=self.squares.at[:, block].add(deviation * (log_ratios - after)),
            energy_squares=self.energy_squares.at[:, block].add(
                energy_deviation**2 * (count - 1) / count
            ),
        )

    def merged(self, other: "LossAccumulator") -> "LossAccumulator":
        """Add the sums of two accumulators of the same chains, blocks, data and β.

        Source: Chan, Golub & LeVeque, Updating formulae and a pairwise algorithm for computing
        sample variances, Stanford STAN-CS-79-773 (1979).
        """
        count = self.num_draws + other.num_draws
        share = other.num_draws / jnp.maximum(count, 1)
        weight = self.num_draws * share
        deviation = other.means - self.means
        energy_deviation = jnp.sum(deviation, axis=-1)
        return LossAccumulator(
            num_draws=count,
            log_sums=jnp.logaddexp(self.log_sums, other.log_sums),
            means=self.means + share[:, None] * deviation,
            squares=self.squares + other.squares + weight[:, None] * deviation**2,
            energy_squares=self.energy_squares
            + other.energy_squares
            + weight * energy_deviation**2,
            beta=self.beta,
        )

    def finalised(self, num_data: int | None = None) -> "LossMoments":
        """Return float64 moments on the host, of the first ``num_data`` data; the rest is padding.

        Leading axes that ``vmap`` has added stay. Raises ValueError for blocks of unlike length
        or without draws.
        """
        host = jax.tree.map(lambda leaf: np.asarray(leaf, float), self)
        count = host.num_draws
        if not (count.min() == count.max() > 0):
            raise ValueError(
                f"blocks hold {count.min():.0f} to {count.max():.0f} draws; allowed is one "
                "length of at least 1"
            )
        draws, data = float(count.max()), slice(num_data)
        return LossMoments(
            log_means=host.log_sums[..., data] - np.log(draws),
            means=host.means[..., data],
            variances=host.squares[..., data] / draws,
            energy_variances=host.energy_squares / draws,
            beta=host.beta,
            num_draws=draws,
        )


class LossMoments(NamedTuple):
    """Moments of l_i = ℓ_i(w) − ℓ_i(w₀) over the draws of a block, float64 on the host.

    ``log_means`` [..., C, B, P, n] of exp(αl_i) with the powers α of ``powers_of``; ``means`` and
    ``variances`` [..., C, B, n] of l_i; ``energy_variances`` [..., C, B] of −Σ_i l_i; ``beta``
    [...]; ``num_draws`` in every block. Variances divide by the number of draws.
    """

    log_means: Floats
    means: Floats
    variances: Floats
    energy_variances: Floats
    beta: Floats
    num_draws: float

    @property
    def num_data(self) -> int:
        """The number of data n."""
        return int(self.means.shape[-1])


def powers_of(beta: Array | float, count: int) -> Array:
    """Return the powers α of exp(αl_i): 1 for prediction, and −β and 1 − β to leave datum i out."""
    beta = jnp.asarray(beta)
    return jnp.stack([jnp.ones_like(beta), -beta, 1 - beta])[:count]


def loss_moments(log_ratios: ArrayLike, num_blocks: int = 1, beta: float = 1.0) -> LossMoments:
    """Return the moments that an accumulator would give of stored draws l = ``log_ratios``.

    Draws are [chain, draw, datum]; consecutive draws form ``num_blocks`` blocks of one length.
    Raises ValueError for other shapes and where the blocks do not divide the draws.
    """
    beta = checked("beta", beta, NonNegative)
    array = real_array("log_ratios", log_ratios)
    if array.ndim != 3 or min(array.shape) < 1:
        raise ValueError(f"draws have shape {array.shape}; allowed is [chain, draw, datum]")
    check("num_blocks", num_blocks, Count)
    if array.shape[1] % num_blocks:
        raise ValueError(f"num_blocks = {num_blocks}: must divide the {array.shape[1]} draws")
    blocks = array.reshape(array.shape[0], num_blocks, -1, array.shape[-1])
    powers = np.array([1.0, -beta, 1 - beta])
    log_sums = [logsumexp(power * blocks, axis=2) for power in powers]
    return LossMoments(
        log_means=np.stack(log_sums, axis=-2) - np.log(blocks.shape[2]),
        means=blocks.mean(axis=2),
        variances=blocks.var(axis=2),
        energy_variances=blocks.sum(axis=-1).var(axis=2),
        beta=np.asarray(beta, float),
        num_draws=float(blocks.shape[2]),
    )
