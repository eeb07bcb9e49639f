"""Are simple functions likely, cheap in parameters, and what nets learn (E10, E11, E13)?

Priors of nets, polynomials and simple programs over the Boolean functions of seven inputs are
counted against Lempel–Ziv complexity; prior volumes of near-optimal parameters, exact and by
splitting, are held to λ log₂ n; and nets learn handwritten digits with true and random labels.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import (
    LARGEST_SIZE,
    AtLeast,
    Count,
    Increasing,
    OrMore,
    Positive,
    Probability,
    Size,
    Within,
)

# Functions are drawn in blocks of so many.
BLOCK = 512

Several = Annotated[int, AtLeast(2)]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    repeats: Several = 8
    """independent sets of draws of each prior, which give the error bars"""
    batches: Count = 1
    """batches of each set"""
    batch_draws: Annotated[int, AtLeast(BLOCK)] = 131072
    """functions of a batch, a multiple of 512"""
    weight_scale: Positive = 1.0
    """σ_w of nets: weights are N(0, σ_w²/fan-in)"""
    wide_weight_scale: Positive = 8.0
    """σ_w of the tanh net with a wide prior"""
    bias_scale: Positive = 1.0
    """σ_b of nets: biases are N(0, σ_b²)"""
    volume_sizes: Annotated[
        tuple[Annotated[int, Within(10, LARGEST_SIZE)], ...], Increasing(), OrMore(4)
    ] = tuple(10 * 2**k for k in range(17))
    """n of the prior volumes V(1/n)"""
    particles: Annotated[int, AtLeast(100)] = 1000
    """particles of each run of splitting"""
    volume_repeats: Several = 12
    """independent runs of splitting"""
    sweeps: Count = 20
    """moves of each particle at each level"""
    widths: Annotated[tuple[Count, ...], Increasing(), OrMore(1)] = (4, 8, 32)
    """hidden units of the nets that learn digits"""
    train_size: Annotated[int, Within(20, 1500)] = 300
    """digits to learn from; the rest of 1797 are the test"""
    smoothing: Probability = 0.1
    """share of a label that is spread over all ten: without it, no weights minimise the loss"""
    trainings: Several = 3
    """independent starts, each with random labels of its own"""
    training_steps: Count = 4000
    """steps of Adam on all data"""
    learning_rate: Positive = 0.01
    """its first step size, which falls to zero as a cosine"""
    gammas: Annotated[tuple[Positive, ...], Increasing(), OrMore(2)] = (1.0, 3.0, 10.0)
    """localisations γ of λ̂, in units of the weights"""
    chains: Several = 4
    """chains at each γ and step size"""
    warmup: Size = 1500
    """steps that are dropped"""
    chain_draws: Annotated[int, AtLeast(4)] = 100
    """kept draws of a chain"""
    thinning: Count = 15
    """steps from one kept draw to the next"""

    def check(self) -> None:
        """Refuse batches that blocks do not fill."""
        if self.batch_draws % BLOCK:
            raise ValueError(f"batch_draws = {self.batch_draws}: must be a multiple of {BLOCK}")

    @property
    def draws(self) -> int:
        """The number of functions that are drawn of each prior."""
        return self.repeats * self.batches * self.batch_draws


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        repeats=2,
        batch_draws=1024,
        volume_sizes=(10, 20, 40, 80),
        particles=500,
        volume_repeats=2,
        sweeps=2,
        widths=(2,),
        train_size=40,
        trainings=2,
        training_steps=200,
        gammas=(1.0, 10.0),
        chains=2,
        warmup=20,
        chain_draws=8,
        thinning=1,
    ),
    # Sized for one accelerator: 10⁸ draws of each prior. It has never been run.
    "paper": Config(
        preset="paper",
        batches=96,
        particles=10000,
        volume_repeats=32,
        sweeps=50,
        widths=(4, 8, 16, 32, 64, 128),
        train_size=1000,
        trainings=8,
        training_steps=20000,
        chains=16,
        warmup=20000,
        chain_draws=400,
        thinning=50,
    ),
}
