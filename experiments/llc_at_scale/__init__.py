"""Can the learning coefficient be estimated at scale, with an error bar that holds (N11)?

Deep linear nets of random widths and ranks, whose λ a theorem gives, are sampled around a most
singular true parameter by a rule that looks at the chains alone. The interval of each net is held
to the exact λ, the cost to the number of parameters, and SGLD to its own bias.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import (
    Above,
    AtLeast,
    Between,
    Count,
    Different,
    Increasing,
    OrMore,
    Positive,
    Within,
)

Dynamics = Literal["overdamped", "underdamped"]
NetSize = Annotated[int, Within(50, 10**9)]
NetSizes = Annotated[tuple[NetSize, ...], OrMore(1)]


def spaced(low: float, high: float, count: int) -> tuple[int, ...]:
    """Space sizes evenly on a logarithmic scale, both ends included."""
    ratio = high / low
    return tuple(round(low * ratio ** (i / (count - 1))) for i in range(count))


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    held_out_sizes: NetSizes = spaced(100, 100_000, 32)
    """parameters, about, of the nets that the rule is judged on, each of its own random widths"""
    large_sizes: NetSizes = (1_000_000,)
    """the same of nets that are counted apart"""
    tuning_sizes: NetSizes = (100, 300, 1000, 3000, 10_000)
    """the same of the nets on which the rule was chosen, other ones"""
    localisations: Annotated[tuple[Positive, ...], Increasing(), OrMore(1)] = (
        0.25, 1.0, 4.0,
    )  # fmt: skip
    """γ over the largest width, tried on the tuning nets"""
    localisation: Positive = 1.0
    """γ over the largest width of all other nets"""
    gigaflops: Annotated[float, Above(0.001)] = 600.0
    """work that a held-out net may take, in 10⁹ floating-point operations"""
    tuning_gigaflops: Annotated[float, Above(0.001)] = 200.0
    """the same of a tuning net at one γ"""
    large_gigaflops: Annotated[float, Above(0.001)] = 30000.0
    """the same of a large net"""
    solved_nets: Annotated[int, Within(1, 2)] = 2
    """nets that an oracle solves: 2-3-3, and 2-2-2-2 with m = 3"""
    oracle_steps: Count = 30_000
    """steps of each chain on the nets that an oracle solves"""
    step_shares: Annotated[tuple[Annotated[float, Between(0, 1)], ...], Increasing(), OrMore(2)] = (
        0.01, 0.03, 0.1, 0.2, 0.4,
    )  # fmt: skip
    """step sizes whose bias is measured, in units of the longest that is stable"""
    bias_chains: Annotated[int, AtLeast(4)] = 256
    """chains of each of these runs"""
    bias_draws: Annotated[int, AtLeast(8)] = 200
    """blocks of steps that they are averaged over"""
    hidden: Count = 8
    """hidden units of the net on the digits"""
    dynamics: Annotated[tuple[Dynamics, ...], OrMore(1), Different()] = (
        "overdamped", "underdamped",
    )  # fmt: skip
    """dynamics of the chains around it"""
    training_steps: Annotated[tuple[Count, ...], Increasing(), OrMore(1)] = (
        100, 1000, 10_000, 100_000,
    )  # fmt: skip
    """training steps after which λ̂ of that net is estimated"""
    digits: Annotated[int, Within(100, 1797)] = 200
    """images that it is trained on"""
    digit_warmup: Count = 1000
    """steps of its chains that are dropped, and twice as many are kept"""


SMOKE = Config(
    preset="smoke",
    held_out_sizes=(100, 150),
    large_sizes=(300,),
    tuning_sizes=(100,),
    localisations=(1.0,),
    gigaflops=20.0,
    tuning_gigaflops=20.0,
    large_gigaflops=20.0,
    solved_nets=1,
    oracle_steps=2000,
    step_shares=(0.1, 0.4),
    bias_chains=16,
    bias_draws=8,
    hidden=2,
    dynamics=("underdamped",),
    training_steps=(10,),
    digits=100,
    digit_warmup=20,
)

PRESETS = {
    "laptop": Config(),
    "smoke": SMOKE,
    # Only a net of ten million parameters beside the nets of the smoke preset.
    "huge": replace(SMOKE, preset="huge", large_sizes=(10_000_000,), large_gigaflops=100_000.0),
    # Sized for one accelerator at 20 TFlop/s of single precision; it has never been run.
    "paper": Config(
        preset="paper",
        held_out_sizes=spaced(100, 1_000_000, 200),
        large_sizes=(10_000_000, 100_000_000),
        tuning_sizes=spaced(100, 100_000, 20),
        localisations=(0.015625, 0.0625, 0.25, 1.0, 4.0),
        gigaflops=100_000.0,
        tuning_gigaflops=10_000.0,
        large_gigaflops=20_000_000.0,
        oracle_steps=1_000_000,
        bias_chains=4096,
        bias_draws=1000,
        hidden=64,
        digit_warmup=20_000,
    ),
}
