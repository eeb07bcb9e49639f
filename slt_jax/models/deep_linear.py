"""Deep linear networks y = W_L…W₁x + noise: layers of any widths without a non-linearity."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from slt_jax import theory
from slt_jax.model import FeatureRegression
from slt_jax.oracles.laws.layers import LayersLatent
from slt_jax.oracles.laws.matrix import single_direction
from slt_jax.oracles.structures import Collapse
from slt_jax.problem import Problem
from slt_jax.statistics import Params
from slt_jax.validation import Count, OrMore, Positive


@dataclass(frozen=True, kw_only=True)
class DeepLinearNetwork(FeatureRegression):
    """A net of linear layers of any widths.

    y = W_L…W₁x + noise with x ~ N(0, I) and all entries N(0, prior_scale²). ``widths`` [L + 1] go
    from input to output; layer s is ``W{s}`` [widths[s], widths[s − 1]].
    """

    widths: Annotated[tuple[Count, ...], OrMore(2)] = (2, 2, 2, 2)
    prior_scale: Positive = 1.0

    def priors(self) -> dict[str, dist.Distribution]:
        entry = dist.Normal(0.0, self.prior_scale)
        return {
            name: entry.expand((self.widths[s], self.widths[s - 1]))
            for s, name in enumerate(self._layers(), start=1)
        }

    def sample_input(self, key: Array) -> Array:
        return jax.random.normal(key, (self.widths[0],))

    def input_distribution(self) -> dist.Distribution:
        return dist.Normal(0.0, 1.0).expand((self.widths[0],))

    def features(self, x: Array) -> Array:
        return x

    def coefficients(self, params: Params) -> Array:
        first, *rest = (params[name].T for name in self._layers())
        return functools.reduce(functools.partial(jnp.einsum, "ij,jk->ik"), rest, first)

    def exact(self, optimum: Params) -> Collapse | None:
        """The last layer is collapsed; the others are one matrix A that enters through AᵀA.

        Of two columns its singular values and an angle are left, of one its length, and so of any
        A behind a layer of width one but for the angle.
        """
        into, *rows, _ = self.widths
        if into > 2 or not rows:
            return None
        layers = [np.asarray(optimum[name], float) for name in self._layers()]
        direction = single_direction(functools.reduce(lambda A, W: W @ A, layers))
        law = LayersLatent(tuple(rows), into, self.prior_scale, direction)
        return Collapse(law, self.prior_scale)

    def basis(self, latent: Array) -> Array:
        return latent.reshape(-1, self.widths[0]).T

    def _layers(self) -> list[str]:
        return [f"W{s}" for s in range(1, len(self.widths))]


def deep_linear(widths: Sequence[int], rank: int, *, showcase: bool = False) -> Problem:
    """Return the problem whose truth projects the input on its first ``rank`` coordinates.

    Raises ValueError for widths and ranks that ``theory.deep_linear`` refuses.
    """
    known = theory.deep_linear(widths, rank)
    optimum = {
        f"W{s}": np.eye(out, into) * (np.arange(into) < rank)
        for s, (into, out) in enumerate(zip(widths, widths[1:], strict=False), start=1)
    }
    model = DeepLinearNetwork(widths=tuple(widths))

    def turned(key: Array) -> Params:
        """Draw the spare part of every layer but one, where it is zero, and turn hidden layers."""
        key_w, key_layer, *keys = jax.random.split(key, 2 + len(widths))
        free, off = model.sample_prior(key_w), jax.random.randint(key_layer, (), 1, len(widths))
        turns = [
            jnp.linalg.qr(jax.random.normal(k, (h, h)))[0]
            for k, h in zip(keys, widths, strict=True)
        ]
        turns[0], turns[-1] = jnp.eye(widths[0]), jnp.eye(widths[-1])
        layers = {}
        for s, (into, out) in enumerate(zip(turns, turns[1:], strict=False), start=1):
            spare = np.outer(np.arange(len(out)) >= rank, np.arange(len(into)) >= rank)
            layer = optimum[f"W{s}"] + jnp.where(spare & (s != off), free[f"W{s}"], 0)
            layers[f"W{s}"] = out @ layer @ into.T
        return layers

    return Problem(
        name=f"deep_linear_{'_'.join(map(str, widths))}_rank_{rank}",
        model=model,
        optimum=optimum,
        theory=known,
        title=f"deep linear net, widths {'-'.join(map(str, widths))}, true rank {rank}",
        showcase=showcase,
        optimal_set=turned,
    )


def problems() -> tuple[Problem, ...]:
    """Return three layers at a truth of rank 1, m = 3, and four at the zero function, m = 5."""
    return (deep_linear((2, 2, 2, 2), 1), deep_linear((2, 2, 2, 2, 2), 0))
