"""Is ReLU boundary annihilation a local symmetry, and are simpler functions more degenerate (E8)?

Two units of a one-input ReLU net meet at one breakpoint, or nearly so, a gap g apart. λ(n) near the
truth is exact for two units and sampled for more; it tells whether the gap is seen by n data. The
n from which it is, n ~ g^−p, is derived as follows. A gap is seen when n times K of the nearest net
without it, which is one kink less, is of order one. f − f₀ is determined by its second derivative,
a measure on the cluster of breakpoints. With slope changes s_i at t₀ + u_i and a kink S:

- Σ s_i = S and Σ s_i u_i = 0 can both be had if S ≠ 0, by the place of the kink that replaces the
  cluster. Then f − f₀ vanishes beyond the cluster, and within it is a bump of height ~g on a base
  of g: K ~ g³ and p = 3. So it is for two slope changes of one sign, which are split by g/2 each
  way: a hat of height g/2 and ∫(f − f₀)² = g³/12.
- Σ s_i = S = 0 leaves the moment Σ s_i u_i = sg. Slope changes s and −s are a ramp, a step of
  height sg that no lone kink can replace: K ~ (sg)² over all inputs beyond it, and p = 2.
- The place of such a step is told by K ~ (sg)²|τ| for a shift τ larger than g, and its width g by
  g(s δg)². Both need n ~ g^−3: an annihilating pair passes two crossovers. Between them the two
  moments count ½ each, the place 1 as K is linear in |τ|, and the width 0: λ(n) is near 2 already.
  At n ~ g^−3 the place falls to ½ before the width has risen to ½, so that λ(n) dips, to no less
  than 3/2.
- Slope changes s, −2s, s have neither moment and are a bump again, with p = 3.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import (
    AtLeast,
    Between,
    Count,
    Increasing,
    OrMore,
    SampleSize,
    SimulatedSize,
    Within,
)

Several = Annotated[int, AtLeast(2)]
Gap = Annotated[float, Between(0, 0.5)]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    gaps: Annotated[tuple[Gap, ...], Increasing(), OrMore(3)] = (
        0.00625, 0.0125, 0.025, 0.05, 0.1, 0.2,
    )  # fmt: skip
    """distances between the breakpoints of two units; no gap is always there"""
    exact_sizes: Annotated[tuple[SampleSize, ...], Increasing(), OrMore(2)] = tuple(
        round(10 ** (k / 4)) for k in range(4, 37)
    )
    """n of the exact λ(n)"""
    nodes: Annotated[int, Within(4, 24)] = 12
    """quadrature nodes on a panel"""
    units: Annotated[
        tuple[Annotated[int, Within(2, 6)], ...], Increasing(), OrMore(1)
    ] = (2, 3, 4)  # fmt: skip
    """hidden units of the nets whose functions have 0 to that many kinks"""
    sampled_sizes: Annotated[tuple[SampleSize, ...], Increasing(), OrMore(1)] = (1000, 10000)
    """n of the sampled λ(n)"""
    posterior_sizes: Annotated[tuple[SimulatedSize, ...], Increasing(), OrMore(1)] = (1000,)
    """numbers of data whose posterior of a breakpoint is sampled"""
    posterior_gap: Gap = 0.1
    """gap of the truth of these data, beside none"""
    bins: Several = 25
    """bins of that posterior"""
    repeats: Several = 16
    """independent runs of SMC, which give the error bars"""
    chains: Several = 512
    """chains of a run"""
    chain_length: Several = 16
    """states of a chain at each temperature"""
    max_temperatures: Count = 300
    """temperatures after which a run is given up"""


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        gaps=(0.05, 0.1, 0.2),
        exact_sizes=(10, 100, 1000, 10000, 100000),
        nodes=5,
        units=(2,),
        sampled_sizes=(100,),
        posterior_sizes=(50,),
        bins=5,
        repeats=2,
        chains=16,
        chain_length=4,
    ),
    # Sized for one accelerator; it has never been run.
    "paper": Config(
        preset="paper",
        gaps=(0.0015625, 0.003125, 0.00625, 0.0125, 0.025, 0.05, 0.1, 0.2),
        exact_sizes=tuple(round(10 ** (k / 8)) for k in range(8, 85)),
        nodes=16,
        units=(2, 3, 4, 5, 6),
        sampled_sizes=(1000, 10000, 100000),
        posterior_sizes=(100, 1000, 10000),
        bins=50,
        repeats=32,
        chains=8192,
        chain_length=32,
        max_temperatures=1000,
    ),
}
