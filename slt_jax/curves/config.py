"""Fields of learning curves that the configurations of several experiments share."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import (
    LARGEST_SIMULATED,
    AtLeast,
    Between,
    Count,
    Different,
    Increasing,
    OrMore,
    Positive,
    ProblemSpecs,
    Within,
)

SamplerName = Literal["smc", "nuts", "chees", "mala", "microcanonical", "sgld", "tempering"]
SAMPLER_NAMES: dict[SamplerName, str] = {
    "smc": "SMC", "nuts": "NUTS", "chees": "ChEES", "mala": "MALA",
    "microcanonical": "microcanonical", "sgld": "SGLD", "tempering": "parallel tempering",
}  # fmt: skip
"""Names of samplers in legends."""
ProblemNames = Annotated[tuple[str, ...], ProblemSpecs(), OrMore(1), Different()]
"""Problems, from wherever ``slt_jax.load_problem`` finds them; at least one."""
Refinement = Annotated[int, Within(1, 3)]
SizesOfWBIC = Annotated[tuple[Annotated[int, Within(3, LARGEST_SIMULATED)], ...], Increasing()]


@dataclass(frozen=True)
class SampledConfig(ExperimentConfig):
    """Data sets of a problem, sampled beside exact answers."""

    sampler: SamplerName = "smc"
    """what samples; others than SMC run a ladder of temperatures too for a free energy"""
    data_sets: Annotated[int, AtLeast(2)] = 32
    """independent data sets"""
    seeds: Annotated[int, AtLeast(2)] = 6
    """independent runs on each data set; they give the error bars"""
    num_chains: Annotated[int, AtLeast(2)] = 32
    """chains of a run"""
    chain_length: Annotated[int, AtLeast(2)] = 16
    """states of a chain of SMC; chains × states is the population"""
    step_size: Positive = 0.4
    """SMC's first HMC step in units of the population's standard deviation; tuned on the way"""
    num_draws: Annotated[int, AtLeast(4)] = 100
    """draws of a chain after its warm-up, of the other samplers"""
    num_warmup: Annotated[int, AtLeast(20)] | None = None
    """length of that warm-up, as each sampler counts it; by default its own"""
    oracle_refinement: Refinement = 1
    """refinement of the exact answers; their error bounds are in the result file"""

    def check(self) -> None:
        super().check()
        if self.num_warmup is not None and self.sampler in ("smc", "tempering"):
            raise ValueError(
                f"num_warmup = {self.num_warmup}: must be None, as {self.sampler} tunes on its way"
            )


@dataclass(frozen=True)
class FreeEnergyConfig(SampledConfig):
    """Free energy, WBIC and λ̂ of data sets of growing n."""

    sample_sizes: Annotated[SizesOfWBIC, OrMore(1)] = (10, 100, 1000, 10000)
    """n of the sampled curve"""
    exact_sizes: SizesOfWBIC = (30, 300, 3000, 30000, 100000)
    """further n of the exact free energy"""
    data_sets: Annotated[int, AtLeast(2)] = 10
    """independent data sets"""
    seeds: Annotated[int, AtLeast(2)] = 8
    """independent runs on each data set; they give the error bars"""
    integration_steps: Count = 6
    """leapfrog steps of a move of SMC"""
    ess_fraction: Annotated[float, Between(0, 1)] = 0.5
    """share of SMC's effective sample size that a change of temperature may not fall below"""
    float64: bool = False
    """sample in double precision"""
    batch_size: Count = 16
    """data sets that are computed and saved together"""

    @property
    def sizes(self) -> list[int]:
        """All n, increasing."""
        return sorted({*self.sample_sizes, *self.exact_sizes})

    @property
    def parts(self) -> list[slice]:
        """The data sets of each task, of equal numbers but for the last."""
        count = -(-self.data_sets // self.batch_size)
        size = -(-self.data_sets // count)
        return [slice(i, min(i + size, self.data_sets)) for i in range(0, self.data_sets, size)]


@dataclass(frozen=True)
class ErrorConfig(SampledConfig):
    """Generalisation and training errors of data sets of growing n."""

    exact_sizes: Annotated[
        tuple[Annotated[int, Within(2, LARGEST_SIMULATED)], ...], Increasing(), OrMore(1)
    ] = (10, 30, 100, 300, 1000)  # fmt: skip
    """n of the exact errors"""
    sample_sizes: Annotated[
        tuple[Annotated[int, Within(2, LARGEST_SIMULATED)], ...], Increasing(), OrMore(1)
    ] = (10, 100, 1000)  # fmt: skip
    """those n that are sampled too"""
    seeds: Annotated[int, AtLeast(4)] = 6
    """independent runs on each data set; they give the error bars"""

    def check(self) -> None:
        super().check()
        refuse_others("sample_sizes", self.sample_sizes, "exact_sizes", self.exact_sizes)


def refuse_others(part: str, chosen: tuple[Any, ...], whole: str, allowed: tuple[Any, ...]) -> None:
    """Raise ValueError where a field holds what another does not."""
    if missing := sorted(set(chosen) - set(allowed)):
        raise ValueError(f"{part} {missing}: must be among the {whole}")
