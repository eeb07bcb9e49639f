"""The toy model of superposition: sparse features squeezed through fewer hidden dimensions."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from slt_jax import theory
from slt_jax.model import Regression
from slt_jax.problem import Problem, Truth
from slt_jax.statistics import Params
from slt_jax.validation import Count, Positive

# Length and common bias of the best polygon, where Nelder-Mead ends and the loss is minimal to
# rounding. They are kept, as they depend on nothing and every start would wait for them.
BEST_SHAPES = {
    4: (1.0, 0.0),
    5: (1.1704596383068204, -0.28229728380892233),
    6: (1.3205263349590015, -0.6181351374811099),
}


@dataclass(frozen=True, kw_only=True)
class Superposition(Regression):
    """An autoencoder with tied weights and a ReLU output, on sparse features.

    y = relu(WᵀWx + b) + noise, W [hidden_dim, num_features], b [num_features]. x has one non-zero
    coordinate, any with equal probability, U[0, 1]; all parameters are N(0, prior_scale²).

    Source: Chen, Lau, Mendel, Wei and Murfet, Dynamical versus Bayesian phase transitions in a
    toy model of superposition, arXiv:2310.06301 (2023), without whose factors: here the loss is
    ‖y − f‖²/2 at noise 1.
    """

    num_features: Count = 4
    hidden_dim: Count = 2
    prior_scale: Positive = 1.0

    def priors(self) -> dict[str, dist.Distribution]:
        weight = dist.Normal(0.0, self.prior_scale)
        return {
            "W": weight.expand((self.hidden_dim, self.num_features)),
            "b": weight.expand((self.num_features,)),
        }

    def sample_input(self, key: Array) -> Array:
        key_feature, key_value = jax.random.split(key)
        feature = jax.random.randint(key_feature, (), 0, self.num_features)
        return jax.random.uniform(key_value, ()) * jax.nn.one_hot(feature, self.num_features)

    def predict(self, params: Params, x: Array) -> Array:
        hidden = jnp.einsum("hf,f->h", params["W"], x)
        return jax.nn.relu(jnp.einsum("hf,h->f", params["W"], hidden) + params["b"])


def identity_divergence(W: np.ndarray, b: np.ndarray) -> float:
    """Return L(w) − S = E‖relu(WᵀWx + b) − x‖²/2 of the truth y = x + N(0, I), nats per datum.

    W [hidden, F], b [F]. Exact: between 0, 1 and its kink, each output is linear in the value
    of the feature, and Simpson's rule integrates its square.
    """
    slopes, offsets = W.T @ W, b[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        kinks = np.clip(np.nan_to_num(-offsets / slopes), 0.0, 1.0)
    total = 0.0
    for low, high in ((np.zeros_like(kinks), kinks), (kinks, np.ones_like(kinks))):
        for at, weight in ((low, 1), ((low + high) / 2, 4), (high, 1)):
            error = np.maximum(slopes * at + offsets, 0.0) - np.eye(len(b)) * at
            total += np.sum((high - low) * weight / 6 * error**2)
    return total / (2 * len(b))


def polygon(num_features: int) -> Problem:
    """Return the problem y = x + noise at which the columns of W [2, F] are a regular polygon.

    Four features fit without error, by two pairs of opposite unit vectors: any two of the F
    vectors must be at 90° or more, which leaves four only this choice. More do not fit, and the
    length of the vectors and the common bias are those of the best polygon (Chen et al. 2023);
    for 5 and 6 features it is the lowest minimum that 40 random starts find. Polygons of other
    neighbours are other densities, so that these are not renormalisable and ``theory`` is None,
    with ``theory.superposition_polygon`` the local one. Raises ValueError unless 4 ≤ F ≤ 6: for
    fewer features W₀ is more than this, for more it may be something else.
    """
    if num_features not in (4, 5, 6):
        raise ValueError(f"num_features = {num_features}: must be 4, 5 or 6")
    angles = 2 * np.pi * np.arange(num_features) / num_features
    directions = np.stack([np.cos(angles), np.sin(angles)])

    length, bias = BEST_SHAPES[num_features]
    W, b = length * directions, np.full(num_features, bias)
    fits = num_features == 4
    truth = Truth(
        Superposition(num_features=num_features, hidden_dim=num_features),
        {"W": np.eye(num_features), "b": np.zeros(num_features)},
    )

    def rotated(key: Array) -> Params:
        key_rotation, key_order = jax.random.split(key)
        rotation = jnp.linalg.qr(jax.random.normal(key_rotation, (2, 2)))[0]
        return {"W": rotation @ jax.random.permutation(key_order, W, axis=1), "b": b}

    return Problem(
        f"superposition_{num_features}",
        Superposition(num_features=num_features),
        {"W": W, "b": b},
        theory.superposition_polygon(4, 4) if fits else None,
        truth=None if fits else truth,
        title=f"toy model of superposition, {num_features} features in 2 dimensions",
        showcase=False,
        divergence=None if fits else identity_divergence(W, b),
        optimal_set=rotated,
    )


def problems() -> tuple[Problem, ...]:
    """Return four features, which fit, and five, which do not."""
    return (polygon(4), polygon(5))
