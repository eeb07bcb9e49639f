"""Does a product-parametrised polynomial prefer high degrees, and is λ the reason (E1 to E3)?"""

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import jax
import xarray as xr

from experiments.skalse_polynomial import (
    coefficients as product_coefficients,
)
from experiments.skalse_polynomial import (
    figure as skalse_figure,
)
from experiments.skalse_polynomial import (
    verdict as skalse_report,
)
from experiments.skalse_polynomial.coefficients import TRUTHS
from slt_jax.report import refusals
from slt_jax.report.main import ExperimentConfig, compute, publish, run_experiment
from slt_jax.run.sweep import Batch
from slt_jax.samplers.nuts import NUTSSettings
from slt_jax.samplers.sgld import SGLDSettings
from slt_jax.samplers.smc import SMCSettings

NAME = "skalse_polynomial"
PATTERNS = ("essay", "ascending")


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    sample_sizes: tuple[int, ...] = (10, 100, 1000, 10000, 100000)
    """n of simulated data sets"""
    far_sizes: tuple[int, ...] = tuple(10**k for k in range(1, 13))
    """n on the fixed design; increasing, at least 4"""
    data_sets: int = 10
    """independent data sets, at least 2"""
    oracle_refinement: int = 1
    """refinement of the exact answers, 1 to 3"""
    local_size: int = 1000
    """n of the local learning coefficients"""
    gammas: tuple[float, ...] = (10.0, 100.0)
    """localisations γ"""
    local_chains: int = 64
    """SGLD chains, at least 2"""
    local_draws: int = 200
    """kept SGLD draws of a chain, 100 steps apart"""
    step_size: float = 1e-4
    """SGLD step"""
    datum_noises: tuple[float, ...] = (0.1, 1.0)
    """standard deviations of the noise of the datum (1, 1)"""
    radii: tuple[float, ...] = (0.07, 0.2)
    """distances within which a function is near another"""
    quadrature_nodes: int = 22
    """nodes of the exact masses in each direction, at least 8"""
    chains: int = 16
    """NUTS chains, and SMC runs, of one datum, at least 2"""
    draws: int = 2000
    """NUTS draws of a chain"""
    degrees: tuple[int, ...] = (10, 30, 100, 300)
    """degrees of the scaled-up polynomial, multiples of 10; n is a tenth"""
    noises: tuple[float, ...] = (0.1, 1.0)
    """its noise"""
    scaled_data_sets: int = 6
    """its independent data sets, at least 2"""
    scaled_chains: int = 4
    """Gibbs chains on each, at least 2"""
    sweeps: int = 150
    """kept Gibbs sweeps of a chain, after as many that are dropped"""


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        sample_sizes=(10, 100),
        far_sizes=(100, 1000, 10000, 1000000),
        data_sets=2,
        gammas=(100.0,),
        local_chains=8,
        local_draws=20,
        datum_noises=(0.1,),
        radii=(0.2,),
        quadrature_nodes=16,
        chains=4,
        draws=100,
        degrees=(10,),
        noises=(0.1,),
        scaled_data_sets=2,
        scaled_chains=2,
        sweeps=20,
    ),
    "paper": Config(
        preset="paper",
        sample_sizes=(10, 100, 1000, 10000, 100000, 1000000),
        data_sets=100,
        oracle_refinement=2,
        gammas=(1.0, 10.0, 100.0, 1000.0),
        local_chains=1024,
        quadrature_nodes=26,
        chains=64,
        draws=10000,
        degrees=(10, 30, 100, 300, 1000, 3000),
        noises=(0.1, 0.2, 0.3, 1.0),
        scaled_data_sets=20,
        sweeps=500,
    ),
}


def main() -> None:
    """Command line."""
    run_experiment(NAME, (__doc__ or "").strip(), PRESETS, run)


def run(config: Config) -> None:
    """Compute the three parts, print the verdict, write dataset, verdict and figure."""
    check(config)
    out, batches = compute(NAME, config, batches_of(config))
    dataset = assemble(config, batches)
    verdict = skalse_report.judge(dataset)
    print(verdict["statement"])
    publish(NAME, config, out, dataset, verdict, {NAME: skalse_figure.figure(dataset)})


def check(config: Config) -> None:
    """Raises ValueError that names the value and what is allowed."""
    for field in ("sample_sizes", "far_sizes", "degrees", "radii", "gammas"):
        values = getattr(config, field)
        if not values or not all(b > a for a, b in itertools.pairwise((0, *values))):
            raise ValueError(f"{field} = {values}: must be positive and increase")
    if len(config.far_sizes) < 4 or config.far_sizes[0] < 2:
        raise ValueError(f"far_sizes = {config.far_sizes}: at least 4 are needed, from 2 on")
    for field in ("datum_noises", "noises"):
        values = getattr(config, field)
        if not values or not all(0 < v < math.inf for v in values):
            raise ValueError(f"{field} = {values}: must be positive and finite")
    refusals.positive(config, "step_size")
    if any(degree % 10 for degree in config.degrees):
        raise ValueError(f"degrees = {config.degrees}: must be multiples of 10")
    least = {
        "data_sets": 2, "local_size": 3, "local_chains": 2, "local_draws": 1,
        "quadrature_nodes": 8, "chains": 2, "draws": 4, "scaled_data_sets": 2,
        "scaled_chains": 2, "sweeps": 4,
    }  # fmt: skip
    refusals.at_least(config, least)
    refusals.oracle_refinement(config)


def batches_of(config: Config) -> dict[str, list[Batch]]:
    """All work, in groups that share compiled programs."""
    first, local, one, scaled = jax.random.split(jax.random.key(config.seed), 4)
    sgld = SGLDSettings(
        num_warmup=50 * config.local_draws, num_draws=config.local_draws, thinning=100
    )
    nuts = NUTSSettings(config.draws // 2, config.draws, target_acceptance=0.95)
    smc = SMCSettings(num_chains=64, chain_length=max(config.draws // 32, 2))
    do, of = functools.partial, product_coefficients
    return {
        "free_energy": [
            Batch(
                "free_energy",
                do(of.free_energies, first, config.data_sets, config.sample_sizes,
                   config.far_sizes, config.oracle_refinement),
            )
        ],
        "local": [
            Batch(
                f"local.{_plain(truth)}",
                do(of.local_coefficients, truth, local, config.local_size, config.gammas, sgld,
                   config.local_chains, config.step_size, config.far_sizes),
            )
            for truth in TRUTHS
        ],
        "masses": [
            Batch(
                f"masses.{noise}",
                do(of.masses, noise, one, config.radii, config.quadrature_nodes, nuts, smc,
                   config.chains),
            )
            for noise in config.datum_noises
        ],
        "scaled_up": [
            Batch(
                f"scaled_up.{degree}.{noise}.{pattern}",
                do(of.scaled_up, degree, noise, pattern == "ascending",
                   jax.random.fold_in(scaled, degree), 0.1, config.scaled_data_sets,
                   config.scaled_chains, config.sweeps, config.sweeps),
            )
            for degree in config.degrees for noise in config.noises for pattern in PATTERNS
        ],
    }  # fmt: skip


def assemble(config: Config, batches: dict[str, xr.Dataset]) -> xr.Dataset:
    """One labelled dataset; NaN where a quantity was not computed."""

    def along(prefix: str, name: str, labels: tuple[Any, ...]) -> xr.Dataset:
        parts = [batches[f"{prefix}.{_plain(label)}"].drop_attrs() for label in labels]
        return xr.concat(parts, dim=xr.Variable(name, list(labels)), join="outer")

    rows = [
        xr.concat(
            [along(f"scaled_up.{d}.{s}", "pattern", PATTERNS) for s in config.noises],
            dim=xr.Variable("noise", list(config.noises)),
        )
        for d in config.degrees
    ]
    scaled = xr.concat(rows, dim=xr.Variable("degree", list(config.degrees)), join="outer")
    scaled = scaled.rename(converged="scaled_converged", replicate="scaled_replicate")
    masses = along("masses", "datum_noise", config.datum_noises).rename(converged="mass_converged")
    parts = [batches["free_energy"].drop_attrs(), along("local", "truth", TRUTHS), masses, scaled]
    return xr.merge(parts, join="outer")


def _plain(label: object) -> str:
    """A label in a file's name."""
    return str(label).replace("^", "")


if __name__ == "__main__":
    main()
