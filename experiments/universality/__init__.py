"""Is λ of a function in one model class a monotone function of its λ in another (E9)?

A common pool of target functions is learned by tanh and ReLU nets, polynomials whose coefficients
are products or powers, and monomial and Fourier features, of a given or of an unknown number.
λ(n) = dE[F_n − nL_n(w₀)]/d log n is exact where classes are conjugate or factorise, and sampled
from the prior, with the output weights integrated out, where they are nets.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import AtLeast, Count, Increasing, OrMore, Positive, Within


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    sizes: Annotated[tuple[Annotated[int, Within(1, 10**6)], ...], Increasing(), OrMore(1)] = (
        30, 100,
    )  # fmt: skip
    """n of λ(n), at noise 1 and targets of mean square 1; the last one is judged"""
    nodes: Annotated[int, Within(16, 256)] = 32
    """inputs of the design, at least three times as many as units and one more"""
    prior_scale: Positive = 2.0
    """standard deviation of the prior of every parameter of every class"""
    tanh_units: Annotated[int, Within(1, 12)] = 4
    """hidden units of the tanh nets"""
    relu_units: Annotated[int, Within(1, 12)] = 8
    """hidden units of the ReLU nets"""
    degree: Annotated[int, Within(4, 12)] = 6
    """degree of the monomial features"""
    harmonics: Annotated[int, Within(1, 12)] = 3
    """harmonics of the Fourier features, whose period is twice the range of inputs"""
    prior_targets: Count = 2
    """targets that are drawn from the prior of each of five classes, beside the simple ones"""
    noises: Annotated[int, AtLeast(3)] = 24
    """pairs of opposite noises, the same for all targets and sampled classes"""
    draws: Count = 131072
    """draws of the prior in a repeat, rounded up to blocks of 128"""
    repeats: Annotated[int, AtLeast(2)] = 16
    """independent sets of draws of the prior, which give the error bars of sampling"""
    feature_noises: Annotated[int, AtLeast(3)] = 500
    """pairs of noises of the features of unknown number"""
    fit_starts: Count = 30
    """starts of the search for the best net"""
    bootstraps: Annotated[int, AtLeast(10)] = 2000
    """resamplings of targets and noises, for the intervals of rank correlations"""

    def check(self) -> None:
        super().check()
        for name in ("tanh_units", "relu_units"):
            if 3 * getattr(self, name) + 1 > self.nodes:
                raise ValueError(
                    f"{name} = {getattr(self, name)}: nodes = {self.nodes} must be at least "
                    "three times as many and one more, or nets interpolate every target"
                )


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        sizes=(30,),
        nodes=16,
        tanh_units=1,
        relu_units=1,
        prior_targets=1,
        noises=3,
        draws=2048,
        repeats=2,
        feature_noises=3,
        fit_starts=1,
        bootstraps=20,
    ),
    # Sized for some four hours of one accelerator, at a hundred times the draws per second of one
    # core; it has never been run.
    "paper": Config(
        preset="paper",
        sizes=(30, 100, 300, 1000),
        nodes=64,
        relu_units=12,
        prior_targets=6,
        noises=32,
        draws=268435456,
        repeats=16,
        feature_noises=4000,
        fit_starts=300,
        bootstraps=10000,
    ),
}
