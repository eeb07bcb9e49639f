"""Families of competing models, the truths that they learn, and data, all with noise N(0, I)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss, legval
from scipy.special import ndtri
from scipy.stats import chi2, qmc

from slt_jax import theory
from slt_jax.model import Regression
from slt_jax.models.polynomial import PolynomialRegression
from slt_jax.models.reduced_rank import ReducedRankRegression
from slt_jax.models.shallow_net import Activation, ShallowNet
from slt_jax.theory import Theory

from . import Config

Floats = np.ndarray
# Gauss points of one uniform input, of each of two normal ones, and of outputs beside these.
UNIFORM_NODES, NORMAL_NODES, OUTPUT_NODES = 24, 6, (8, 5)
ACTIVATIONS: tuple[Activation, ...] = ("tanh", "relu", "silu", "softplus")
UNITS = 3
RANKS = (1, 2, 3, 4)
PLANE = 2
# Streams of random numbers of a data set.
TRAINING, TESTING, VALIDATION = range(3)


class Family(NamedTuple):
    """Models that compete for one truth x [m, d] → f₀ [m, q], whose mean square output is 1."""

    name: str
    title: str
    labels: tuple[str, ...]
    models: tuple[Regression, ...]
    truth: Callable[[Floats], Floats]

    @property
    def inputs(self) -> int:
        """Number of inputs, which is that of outputs."""
        return PLANE if isinstance(self.models[0], ReducedRankRegression) else 1

    def theories(self) -> dict[tuple[int, int], Theory] | None:
        """Return λ and m of model i where the truth is generic in model j, None where unknown."""
        pairs = [(i, j) for i in range(len(self.models)) for j in range(i + 1)]
        first = self.models[0]
        if isinstance(first, PolynomialRegression):
            return {(i, j): theory.regular(i + 1) for i, j in pairs}
        if isinstance(first, ReducedRankRegression):
            ranks = [min(rank, PLANE) for rank in RANKS]
            return {(i, j): theory.reduced_rank(PLANE, PLANE, RANKS[i], ranks[j]) for i, j in pairs}
        return None


class Sample(NamedTuple):
    """Data sets: inputs [R, m, d], truth f₀ [R, m, q] and standard noise [R, m, q]."""

    x: Floats
    truth: Floats
    noise: Floats


class Points(NamedTuple):
    """Gauss points: inputs [Q, d], f₀ [Q, q], weights [Q]; noise [Y, q], weights [Y]."""

    x: Floats
    truth: Floats
    weights: Floats
    noise: Floats
    noise_weights: Floats


def families(config: Config) -> tuple[Family, ...]:
    """List the families that are asked for."""
    degrees = tuple(
        PolynomialRegression(functions="legendre", powers=(1,) * (k + 1))
        for k in range(config.largest_degree + 1)
    )
    widths = tuple(
        ShallowNet(hidden_dim=h, uniform_input=True) for h in range(1, config.largest_width + 1)
    )
    activations = tuple(
        ShallowNet(hidden_dim=UNITS, activation=each, biases=True, uniform_input=True)
        for each in ACTIVATIONS
    )
    ranks = tuple(
        ReducedRankRegression(input_dim=PLANE, output_dim=PLANE, hidden_dim=h) for h in RANKS
    )
    by_degree = tuple(str(k) for k in range(len(degrees)))
    by_width = tuple(str(h + 1) for h in range(len(widths)))
    every = (
        Family("degrees", "degrees, truth a cubic", by_degree, degrees, _normalised(_cubic)),
        Family("degrees_out", "degrees, truth tanh 5(x − 0.3)", by_degree, degrees,
               _normalised(_step)),
        Family("widths", "tanh widths, truth of two units", by_width, widths,
               _normalised(_two_units)),
        Family("widths_out", "tanh widths, truth sin 2.5x", by_width, widths, _normalised(_wave)),
        Family("activations", "activations, truth |x − 0.2|", ACTIVATIONS, activations,
               _normalised(_corner)),
        Family("ranks", "ranks, truth of singular values 1 : 0.3",
               tuple(map(str, RANKS)), ranks, _plane),
    )  # fmt: skip
    return tuple(each for each in every if each.name in config.families)


def _cubic(x: Floats) -> Floats:
    return np.asarray(legval(x, [0.2, 0.7, 0.4, 0.8]))


def _step(x: Floats) -> Floats:
    return np.asarray(np.tanh(5 * (x - 0.3)))


def _two_units(x: Floats) -> Floats:
    return np.asarray(2 * np.tanh(2 * x) - 2 * np.tanh(0.5 * x))


def _wave(x: Floats) -> Floats:
    return np.asarray(np.sin(2.5 * x))


def _corner(x: Floats) -> Floats:
    return np.asarray(np.abs(x - 0.2))


def _normalised(function: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    nodes, weights = leggauss(200)
    scale = np.sqrt(weights @ function(nodes) ** 2 / 2)
    return lambda x: function(x) / scale


def _plane(x: Floats) -> Floats:
    values = np.array([1.0, 0.3])
    return np.asarray(x * values * np.sqrt(2 / np.sum(values**2)))


def sample(family: Family, seed: int, stream: int, data_sets: int, size: int) -> Sample:
    """Draw data sets, of which those of less data are the beginning."""
    shape = (size, family.inputs)
    kind = [ord(letter) for letter in family.name]
    drawn = []
    for r in range(data_sets):
        inputs, noise = (np.random.default_rng([seed, stream, r, i, *kind]) for i in range(2))
        draw = inputs.standard_normal if family.inputs == PLANE else _uniform(inputs)
        drawn.append((draw(shape), noise.standard_normal(shape)))
    x, noise_values = (np.stack(part) for part in zip(*drawn, strict=True))
    return Sample(x, family.truth(x), noise_values)


def _uniform(generator: np.random.Generator) -> Callable[[tuple[int, ...]], Floats]:
    return lambda shape: generator.uniform(-1, 1, shape)


def points(family: Family) -> Points:
    """Return Gauss points of inputs and of the noise."""
    one = family.inputs == 1
    nodes, weights = leggauss(UNIFORM_NODES) if one else hermegauss(NORMAL_NODES)
    x, w = _product(nodes, weights, family.inputs)
    noise, noise_weights = _product(*hermegauss(OUTPUT_NODES[family.inputs - 1]), family.inputs)
    return Points(x, family.truth(x), w, noise, noise_weights)


def _product(nodes: Floats, weights: Floats, dimension: int) -> tuple[Floats, Floats]:
    grid = np.meshgrid(*[nodes] * dimension, indexing="ij")
    whole = functools.reduce(np.multiply.outer, [weights / weights.sum()] * dimension)
    return np.stack([axis.ravel() for axis in grid], axis=1), whole.ravel()


def latents(model: Regression, config: Config) -> Floats:
    """Draw what is left of the prior without the outer layer, [scramble, N, l], quasi-random.

    Nothing is left of a polynomial. Of y = BAx it is AᵀA = LLᵀ, by Bartlett's decomposition.
    """
    if isinstance(model, PolynomialRegression):
        return np.zeros((1, 1, 1))
    turned = isinstance(model, ReducedRankRegression) and model.hidden_dim > 1
    count = 3 if turned else PLANE
    if isinstance(model, ShallowNet):
        count = model.hidden_dim * (1 + model.biases)
    drawn = []
    for scramble in range(config.scrambles):
        generator = np.random.default_rng([config.seed, scramble])
        uniform = qmc.Sobol(count, rng=generator).random_base2(config.log_latents)
        # Scrambled points are multiples of 2^−30 or so, zero among them.
        uniform = np.maximum(uniform, 2.0**-33)
        normal = ndtri(uniform)
        if isinstance(model, ReducedRankRegression) and turned:
            for column, freedom in ((0, model.hidden_dim), (1, model.hidden_dim - 1)):
                normal[:, column] = np.sqrt(chi2.ppf(uniform[:, column], freedom))
        drawn.append(normal)
    return np.stack(drawn)


def features(model: Regression, latent: Array, x: Array) -> Array:
    """Return the features [N, m, p] of inputs [m, d] in which a model is linear, given latents."""
    if isinstance(model, PolynomialRegression):
        return jax.vmap(model.features)(x[:, 0])[None]
    if isinstance(model, ShallowNet):
        inner = latent.reshape(len(latent), -1, model.hidden_dim)
        argument = inner[:, :1] * x[None]
        return model.activate(argument + inner[:, 1:2] if model.biases else argument)
    if latent.shape[1] == PLANE:
        return jnp.einsum("md,Nd->Nm", x, latent)[..., None]
    first = x[None, :, 0] * latent[:, None, 0] + x[None, :, 1] * latent[:, None, 2]
    return jnp.stack([first, x[None, :, 1] * latent[:, None, 1]], axis=-1)
