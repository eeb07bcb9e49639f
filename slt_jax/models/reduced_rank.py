"""Reduced-rank regression y = BAx + noise: two layers without a non-linearity."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from slt_jax import theory
from slt_jax.model import FeatureRegression
from slt_jax.oracles.laws.matrix import MatrixLatent, single_direction
from slt_jax.oracles.structures import Collapse
from slt_jax.problem import Problem
from slt_jax.statistics import Params
from slt_jax.validation import Count, Positive


@dataclass(frozen=True, kw_only=True)
class ReducedRankRegression(FeatureRegression):
    """Linear regression through a hidden layer, which bounds the rank.

    y = BAx + noise, A [hidden, input], B [output, hidden], all entries N(0, prior_scale²).
    """

    input_dim: Count = 2
    output_dim: Count = 2
    hidden_dim: Count = 1
    prior_scale: Positive = 1.0

    def priors(self) -> dict[str, dist.Distribution]:
        entry = dist.Normal(0.0, self.prior_scale)
        return {
            "A": entry.expand((self.hidden_dim, self.input_dim)),
            "B": entry.expand((self.output_dim, self.hidden_dim)),
        }

    def sample_input(self, key: Array) -> Array:
        return jax.random.normal(key, (self.input_dim,))

    def input_distribution(self) -> dist.Distribution:
        return dist.Normal(0.0, 1.0).expand((self.input_dim,))

    def features(self, x: Array) -> Array:
        return x

    def coefficients(self, params: Params) -> Array:
        return jnp.einsum("oh,hi->io", params["B"], params["A"])

    def exact(self, optimum: Params) -> Collapse | None:
        """B is collapsed; A enters through AᵀA, which leaves at most three dimensions."""
        if self.input_dim > 2:
            return None
        direction = single_direction(np.asarray(optimum["B"]) @ np.asarray(optimum["A"]))
        law = MatrixLatent(self.hidden_dim, self.input_dim, self.prior_scale, direction)
        return Collapse(law, self.prior_scale)

    def basis(self, latent: Array) -> Array:
        return latent.reshape(-1, self.input_dim).T


def _problem(input_dim: int, output_dim: int, hidden_dim: int, rank: int) -> Problem:
    model = ReducedRankRegression(input_dim=input_dim, output_dim=output_dim, hidden_dim=hidden_dim)
    optimum = {
        "A": np.eye(hidden_dim, input_dim) * (np.arange(hidden_dim) < rank)[:, None],
        "B": np.eye(output_dim, hidden_dim) * (np.arange(hidden_dim) < rank)[None, :],
    }

    def turned(key: Array) -> Params:
        """Draw the spare rows of A or the spare columns of B, and turn the hidden layer."""
        key_w, key_side, key_turn = jax.random.split(key, 3)
        free, side = model.sample_prior(key_w), jax.random.bernoulli(key_side)
        spare = np.arange(hidden_dim) >= rank
        A = optimum["A"] + jnp.where(side & spare[:, None], free["A"], 0)
        B = optimum["B"] + jnp.where(~side & spare, free["B"], 0)
        turn = jnp.linalg.qr(jax.random.normal(key_turn, (hidden_dim, hidden_dim)))[0]
        return {"A": turn @ A, "B": B @ turn.T}

    return Problem(
        name=f"reduced_rank_{input_dim}_{output_dim}_{hidden_dim}_{rank}",
        model=model,
        optimum=optimum,
        theory=theory.reduced_rank(input_dim, output_dim, hidden_dim, rank),
        showcase=rank > 0,
        optimal_set=turned,
        title=f"y = BAx, widths {input_dim}-{hidden_dim}-{output_dim}, true rank {rank}",
    )


def problems() -> tuple[Problem, ...]:
    """Return truths of rank 0 and 1 at widths that have an oracle, and a larger net without."""
    return (
        _problem(2, 2, 1, 0),
        _problem(2, 2, 2, 1),
        _problem(4, 3, 2, 1),
    )
