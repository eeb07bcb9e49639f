"""Does it matter that ReLU nets are not analytic (N10)?

A ReLU net stands beside nets of the analytic softplus_k(z) = log(1 + e^{kz})/k and
SiLU_k(z) = z/(1 + e^{−kz}), which tend to it as k grows, on three fixed problems: the truth 0,
learnt by one unit and by two, and one kink, f₀ = relu(x), learnt by one unit. There are no biases,
x and all parameters are N(0, 1). F_n and λ(n) are exact, and the n(k) from which on the smooth net
no longer looks like the ReLU net is held against its scaling, which is derived as follows.

- σ_k(bx) differs from relu(bx) by 1/k on a window of width 1/(kb). Where ReLU units cancel or fit
  exactly this leaves K ~ a²/(k³b), so that nK is of order one at n ~ k³: that is so for one kink
  (ab = 1) and for two units that cancel (a₁b₁ + a₂b₂ = 0).
- One unit at the truth 0 has a₁b₁ = 0 and nothing to cancel. Units of b < 1/k see the activation
  near 0, softplus_k ≈ log 2/k + bx/2 or SiLU_k ≈ bx/2. These b matter once n ~ k², when b ~ 1/√n
  does; the ReLU posterior is spread over log b, so that they are but a share of it. With
  t = log n/(2 log k) the evidences are to those of ReLU as 1/t for softplus and as
  (1 + √2(t − 1))/t for SiLU, and differ by δ nats at n ~ k^{2t}.
- Beyond n(k) the analytic λ appears: of two units 1 (m = 2) for softplus, K ≍ s² + a²d² with
  s = a₁ + a₂ and d = b₁ − b₂. For SiLU it is 3/4, by the weights b ~ n^{−1/4}k^{−1/2} near 0, which
  hold a mass n^{−3/4}k^{−1/2} against n^{−1}k^{3/2} log(n/k³) elsewhere: at n ~ k⁸ and no sooner.
- No smooth unit has one kink. K = φ(0)C/(2k³b³) for ab = 1, with C = ∫(σ₁ − relu)² dz, vanishes as
  b → ∞ alone; with b²/2 of the prior F_n ≈ (5/6)(3φ(0)Cn/(2k³))^{2/5} once that is large: a power
  of n, and no λ at all.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import AtLeast, Increasing, OrMore, SampleSize, Within

Sharpness = Annotated[float, Within(1, 1000)]
Several = Annotated[int, AtLeast(2)]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    sharpnesses: Annotated[tuple[Sharpness, ...], Increasing(), OrMore(2)] = (
        1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0,
    )  # fmt: skip
    """k of the smooth activations"""
    decades: Annotated[int, Within(4, 20)] = 20
    """decades of n, from 1, of the exact answers without data; 14 of them for one kink"""
    per_decade: Annotated[int, Within(2, 32)] = 4
    """n in a decade"""
    nodes: Annotated[int, Within(4, 12)] = 8
    """quadrature nodes on a panel"""
    set_sharpnesses: Annotated[tuple[Sharpness, ...], Increasing(), OrMore(2)] = (
        10.0, 30.0, 100.0, 300.0,
    )  # fmt: skip
    """k of the nets that learn data sets"""
    set_sizes: Annotated[tuple[SampleSize, ...], Increasing(), OrMore(2)] = tuple(
        round(10 ** (k / 2)) for k in range(4, 19)
    )
    """n of the data sets"""
    data_sets: Several = 32
    """independent data sets"""
    groups: Several = 8
    """groups of data sets, each of which gives its own n(k)"""
    set_nodes: Annotated[int, Within(4, 12)] = 6
    """quadrature nodes on a panel for data sets"""

    def check(self) -> None:
        if self.data_sets % self.groups:
            raise ValueError(f"groups = {self.groups}: must divide data_sets = {self.data_sets}")


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        sharpnesses=(10.0, 100.0),
        decades=8,
        per_decade=2,
        nodes=4,
        set_sharpnesses=(10.0, 30.0),
        set_sizes=(100, 10000),
        data_sets=4,
        groups=2,
        set_nodes=4,
    ),
    # About ten hours of one core, an hour of an accelerator's host, as all of it is NumPy; it has
    # never been run.
    "paper": Config(
        preset="paper",
        sharpnesses=tuple(round(10 ** (k / 6), 6) for k in range(19)),
        per_decade=16,
        nodes=10,
        set_sharpnesses=(10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0),
        set_sizes=tuple(round(10 ** (k / 4)) for k in range(8, 53)),
        data_sets=256,
        groups=16,
        set_nodes=8,
    ),
}
