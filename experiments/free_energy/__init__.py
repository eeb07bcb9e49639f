"""Is the evidence a density over data sets, and do WBIC and λ log n give the free energy (N1, N2)?

For every problem the free energy F_n is computed exactly, where there is an oracle, and sampled by
tempered SMC, or another sampler, on the same data; WBIC, thermodynamic integration and BIC stand
beside it.
"""

from dataclasses import dataclass

from slt_jax.curves.config import FreeEnergyConfig, ProblemNames


@dataclass(frozen=True)
class Config(FreeEnergyConfig):
    """Every field is a flag."""

    problems: ProblemNames | None = None
    """problems; by default all of the package that are marked for show"""


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        problems=("linear_3", "monomial_1_1", "reduced_rank_4_3_2_1"),
        sample_sizes=(10, 100),
        exact_sizes=(1000,),
        data_sets=3,
        seeds=3,
        num_chains=16,
        chain_length=8,
    ),
    "demo": Config(preset="demo", problems=("linear_3", "monomial_1_1", "tanh_3")),
    "nuts": Config(
        preset="nuts",
        sampler="nuts",
        problems=("linear_3", "monomial_1_1"),
        sample_sizes=(10, 100, 1000),
        exact_sizes=(30, 300),
        data_sets=2,
        seeds=4,
        num_chains=256,
        num_warmup=200,
        num_draws=50,
    ),
    "sgld": Config(
        preset="sgld",
        sampler="sgld",
        problems=("linear_3", "monomial_1_1", "tanh_1"),
        sample_sizes=(10, 100, 1000),
        exact_sizes=(30, 300),
        data_sets=3,
        seeds=4,
        num_chains=1024,
    ),
    "paper": Config(
        preset="paper",
        sample_sizes=(10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000),
        exact_sizes=(300000, 1000000),
        data_sets=100,
        seeds=16,
        num_chains=128,
        chain_length=32,
        oracle_refinement=2,
    ),
}
