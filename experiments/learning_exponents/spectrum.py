"""Linear regression with power-law spectra: learning curves in closed form at any n and width."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slt_jax.oracles.quadrature import Rule, panel_rule

Floats = NDArray[np.float64]

SUMMED = 4096
PANELS_PER_NAT = 1.0
ORDER = 10


@dataclass(frozen=True)
class PowerLawSpectrum:
    """d directions with information λ_i = i^{−1−α}, prior N(0, s²i^{−p}), true weight i^{−τ/2}.

    ``width`` d, ``alpha`` α, ``prior_scale`` s, ``prior_decay`` p, ``target_decay`` τ. One
    datum is y ~ N(Λ^{1/2}w, noise² I): directions are independent, and with κ_i = nλ_is²i^{−p}/σ²

        E[G_g] = (1/2σ²) Σ λ_i [s_i²/(1+κ_i) + s_i²κ_i/(1+κ_i)² + w_i²/(1+κ_i)²]
        E[F_n] − nL(w₀) = ½ Σ log(1+κ_i) − κ_i/(1+κ_i) + (nλ_iw_i²/σ²)/(1+κ_i),

    E[B_g] = E[F_{n+1}] − E[F_n]. Until the data see all directions, n ~ d^{1+α+p},
    both fall as n^{−σ} with σ = (α + min(p, τ))/(1 + α + p); then as 1/n. Raises ValueError for
    a width < 1, α ≤ 0, α + p or α + τ ≤ 0, and a scale or noise that is not positive.
    """

    width: float = 1e6
    alpha: float = 0.5
    prior_scale: float = 1.0
    prior_decay: float = 0.0
    target_decay: float = 0.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.width < math.inf:
            raise ValueError(f"width = {self.width}: must be finite and ≥ 1")
        for name, value in (
            ("alpha", self.alpha),
            ("alpha + prior_decay", self.alpha + self.prior_decay),
            ("alpha + target_decay", self.alpha + self.target_decay),
            ("prior_scale", self.prior_scale),
            ("noise", self.noise),
        ):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} = {value}: must be positive and finite")

    @property
    def exponent(self) -> float:
        """σ before the data see all directions."""
        least = min(self.prior_decay, self.target_decay)
        return (self.alpha + least) / (1 + self.alpha + self.prior_decay)

    def errors(self, n: ArrayLike) -> tuple[Floats, Floats]:
        """E[B_g] and E[G_g] in nats per datum at sizes n [N] > 0.

        Exact sums over 4096 directions; those beyond by an integral over i, whose relative error
        is that of the midpoint rule, 1e−8. Raises ValueError for n that are not positive.
        """
        n = np.atleast_1d(np.asarray(n, float))
        if not np.all((n > 0) & np.isfinite(n)):
            raise ValueError(f"n = {n.tolist()}: must be positive and finite")
        index, weights = _directions(self.width)
        signal = index ** (-1 - self.alpha) / self.noise**2
        prior = self.prior_scale**2 * index**-self.prior_decay
        target = index**-self.target_decay

        def at(size: float) -> tuple[float, float]:
            kappa = size * signal * prior
            damped = 1 / (1 + kappa)
            spread = prior * damped * (1 + kappa * damped) + target * damped**2
            gibbs = 0.5 * (weights @ (signal * spread))
            # Differences of the terms of F between n and n + 1, without cancellation.
            after = 1 / (1 + kappa + signal * prior)
            gained = np.log1p(signal * prior * damped)
            shrunk = signal * prior * damped * after
            missed = signal * target * damped * after
            return 0.5 * float(weights @ (gained - shrunk + missed)), float(gibbs)

        errors = np.array([at(size) for size in n])
        return errors[:, 0], errors[:, 1]

    def design_error(self, standard: ArrayLike) -> float:
        """E[G_g] of the regression y = w·x + noise on one design, over its noise.

        ``standard`` [n, d] are inputs before the spectrum, x_i = i^{−(1+α)/2} standard_i; d is
        the width. Raises ValueError for another number of columns.
        """
        standard = np.asarray(standard, float)
        index = np.arange(1.0, self.width + 1)
        if standard.shape[1:] != index.shape:
            raise ValueError(f"standard of shape {standard.shape}: must be [n, {index.size}]")
        spectrum = index ** (-1 - self.alpha)
        x = standard * np.sqrt(spectrum)
        precision = index**self.prior_decay / self.prior_scale**2
        gram = x.T @ x / self.noise**2
        covariance = np.linalg.inv(gram + np.diag(precision))
        bias = covariance @ (precision * index ** (-self.target_decay / 2))
        spread = np.diag(covariance) + np.einsum("ij,jk,ki->i", covariance, gram, covariance)
        return float(spectrum @ (spread + bias**2) / (2 * self.noise**2))


def _directions(width: float) -> Rule:
    """Indices and weights of Σ_{i ≤ width} f(i): single ones, then an integral in log i."""
    if width <= SUMMED:
        count = int(width)
        return Rule(np.arange(1.0, count + 1), np.ones(count))
    low, high = math.log(SUMMED + 0.5), math.log(width + 0.5)
    edges = np.linspace(low, high, math.ceil((high - low) / PANELS_PER_NAT) + 1)
    rule = panel_rule(edges, ORDER)
    beyond = np.exp(rule.nodes)
    return Rule(
        np.concatenate([np.arange(1.0, SUMMED + 1), beyond]),
        np.concatenate([np.ones(SUMMED), rule.weights * beyond]),
    )
