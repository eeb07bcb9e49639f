"""Powers of normal parameters that are coefficients themselves, on steps laid out by the data.

Given sufficient statistics the likelihood of the coefficients c is Gaussian, and their prior, of
c_j = θ_j^{p_j}, is smooth in θ. So the coefficients are taken one after the other, each on equal
steps of θ_j over the part of its axis that the Gaussian conditional on those before it reaches.
The trapezoid rule is spectrally accurate on each, at zero as well as far from it.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.oracles.laws.charts import Chart, normal_axis
from slt_jax.oracles.laws.cuts import REACH as PRIOR_REACH
from slt_jax.oracles.laws.cuts import Cut, normal_cut
from slt_jax.oracles.laws.law import LatentRule, Law, NodeBlock, Resolution, node_blocks
from slt_jax.oracles.quadrature import UnsettledError

if TYPE_CHECKING:
    from slt_jax.oracles.moments import Posterior

STEPS = 6.8
REACH = 0.85
BULK = 1.5
PREFIXES = 8192
MAX_NODES = 20_000_000


@dataclass(frozen=True)
class PowersLatent(Law):
    """Powers w_j^{p_j} of independent N(0, scale²) parameters, each a coefficient by itself.

    The ``offset`` of the model is linear in them and its ``basis`` constant.
    """

    exponents: tuple[int, ...]
    scale: float = 1.0

    @property
    def is_data_dependent(self) -> bool:
        return True

    def rules(
        self, posteriors: Sequence["Posterior"], resolutions: Sequence[Resolution]
    ) -> list[Iterable[NodeBlock]]:
        (posterior,) = posteriors
        return [self._blocks(posterior, each) for each in resolutions]

    def _blocks(self, posterior: "Posterior", resolution: Resolution) -> Iterator[NodeBlock]:
        likelihood = latent_gaussian(posterior, len(self.exponents))
        for part in powers_rule(self, likelihood, resolution):
            yield from node_blocks(part)

    def cuts(self) -> tuple[Cut, ...]:
        return tuple(
            normal_cut(j, PRIOR_REACH, self.scale, power=p) for j, p in enumerate(self.exponents)
        )

    def charts(self, nats: float) -> tuple[Chart, ...]:
        axes = tuple(normal_axis(self.scale, (), nats, half=p % 2 == 0) for p in self.exponents)
        return (Chart(axes, place=functools.partial(_to_powers, self.exponents), nats=nats),)

    def describe(self) -> str:
        return f"steps of {len(self.exponents)} parameters, laid out by the data"


def _to_powers(exponents: tuple[int, ...], theta: Array) -> Array:
    return jnp.stack([theta[:, j] ** p for j, p in enumerate(exponents)], axis=1)


class LatentGaussian(NamedTuple):
    """−½ cᵀΛc + bᵀc: the log-likelihood of the latent coefficients, a Gaussian block integrated
    out; ``precision`` [l, l] = Λ and ``linear`` [l] = b, at β."""

    precision: np.ndarray
    linear: np.ndarray


def latent_gaussian(posterior: "Posterior", count: int) -> LatentGaussian:
    """The Gaussian of ``count`` latents that enter c(w) linearly, with a basis that is constant."""
    model, (statistics,), beta = posterior.model, posterior.shards, posterior.beta
    noise, zero = model.noise, jnp.zeros(count)
    basis = posterior.structure.scale * np.asarray(model.basis(zero), float)
    columns = [np.asarray(model.offset(unit), float)[:, 0] for unit in jnp.eye(count)]
    places = np.column_stack(columns)
    sums, cross, optimum = map(np.asarray, (statistics.gram, statistics.cross, statistics.optimum))
    gram = beta / noise**2 * sums
    score = beta / noise**2 * cross[:, 0] + gram @ optimum[:, 0]
    inner = np.eye(basis.shape[1]) + basis.T @ gram @ basis
    gain = np.linalg.solve(inner, basis.T @ gram)
    precision = places.T @ (gram - gram @ basis @ gain) @ places
    linear = places.T @ (score - gain.T @ (basis.T @ score))
    return LatentGaussian((precision + precision.T) / 2, linear)


class Prefixes(NamedTuple):
    """Values of the first j coefficients: ``nodes`` [N, j], their standardised ``scores`` [N, j]
    given those before each, and ``logs`` [N] of their prior weights."""

    nodes: np.ndarray
    scores: np.ndarray
    logs: np.ndarray

    def part(self, start: int) -> "Prefixes":
        """PREFIXES of them from ``start`` on."""
        return Prefixes(*(values[start : start + PREFIXES] for values in self))


def powers_rule(
    latent: PowersLatent, likelihood: LatentGaussian, resolution: Resolution
) -> Iterator[LatentRule]:
    """Nodes c [N, l] and log-weights of the prior where the likelihood is not negligible, in parts.

    A step is a fraction of the narrowest width of the conditional of a coefficient given all the
    others, and its reach that given those before it, each of them set by the resolution's order.
    Raises UnsettledError where data so few leave more nodes than memory should hold at a time.
    """
    powers, spread = latent.exponents, STEPS / resolution.order
    reach, farthest = REACH * resolution.order, PRIOR_REACH * latent.scale
    # So wide that it matters where the data determine nothing, and the prior's reach does.
    ridge = np.diag([farthest ** (-2 * p) for p in powers])
    covariance = np.linalg.inv(likelihood.precision + ridge)
    centre, factor = covariance @ likelihood.linear, np.linalg.cholesky(covariance)
    alone = 1 / np.sqrt(np.diag(likelihood.precision + ridge))

    def mean_of(j: int, prefixes: Prefixes) -> np.ndarray:
        return centre[j] + prefixes.scores @ factor[j, :j]

    def least(j: int, prefixes: Prefixes) -> float:
        """The least sum of squared scores that the next coefficient can leave."""
        behind = 0.0 if powers[j] % 2 else np.minimum(mean_of(j, prefixes), 0.0) / factor[j, j]
        return float(np.min(np.sum(prefixes.scores**2, axis=1) + behind**2))

    def extended(j: int, prefixes: Prefixes, most: float) -> Prefixes:
        power, mean, width = powers[j], mean_of(j, prefixes), factor[j, j]
        low, high = _interval(power, mean, width, reach)
        low, high = (np.clip(_root(c, power), -farthest, farthest) for c in (low, high))
        bulk = np.minimum(np.abs(mean) + BULK * width, farthest**power)
        step = spread * np.minimum(alone[j] / (power * bulk ** (1 - 1 / power)), latent.scale)
        counts = np.ceil((high - low) / step).astype(int)
        if counts.sum() > MAX_NODES:
            raise UnsettledError(
                f"{counts.sum():.1e} nodes for powers {powers} at a time: at most {MAX_NODES:.0e}; "
                "more data are needed to hold the coefficients"
            )
        before = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        size = ((high - low) / np.maximum(counts, 1))[before]
        theta = low[before] + (place + 0.5) * size
        scores = np.column_stack([prefixes.scores[before], (theta**power - mean[before]) / width])
        sides = 1 if power % 2 else 2
        prior = -0.5 * (theta / latent.scale) ** 2 + np.log(
            sides * size / (latent.scale * np.sqrt(2 * np.pi))
        )
        keep = np.sum(scores**2, axis=1) <= most
        nodes = np.column_stack([prefixes.nodes[before], theta**power])
        return Prefixes(nodes[keep], scores[keep], (prefixes.logs[before] + prior)[keep])

    prefixes, last = Prefixes(np.zeros((1, 0)), np.zeros((1, 0)), np.zeros(1)), len(powers) - 1
    for j in range(last):
        prefixes = extended(j, prefixes, least(j, prefixes) + reach**2)
    most = least(last, prefixes) + reach**2
    for start in range(0, len(prefixes.logs), PREFIXES):
        whole = extended(last, prefixes.part(start), most)
        if len(whole.logs):
            yield LatentRule(whole.nodes, whole.logs)


def _interval(
    power: int, mean: np.ndarray, width: float, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """The ends between which a power has a Gaussian density of e^{−reach²/2} of its largest."""
    far = reach * width
    if power % 2:
        return mean - far, mean + far
    behind = np.minimum(mean, 0.0)
    return np.maximum(mean - far, 0.0), np.maximum(mean, 0.0) + behind + np.hypot(behind, far)


def _root(value: np.ndarray, power: int) -> np.ndarray:
    return np.sign(value) * np.abs(value) ** (1 / power)
