"""The study: exact and sampled answers for six truths, for one datum, and for growing degrees."""

import functools
import math
from collections.abc import Mapping

import jax
import numpy as np
import xarray as xr

from slt_jax import theory
from slt_jax.run.devices import refuse_beyond_memory
from slt_jax.run.sweep import Task, joined

from . import Config
from .posterior_mass import masses
from .regression import PATTERNS, decay_rate, scaled_up
from .truths import (
    FACTORS,
    FUNCTIONS,
    TRUTHS,
    free_energies,
    gram,
    local_coefficients,
    targets,
)

BYTES = 8


def tasks(config: Config) -> list[Task]:
    """List all work, in groups that share compiled programs.

    Raises ValueError for a degree whose features do not fit into memory.
    """
    largest = config.degrees[-1]
    features = config.scaled_data_sets * (largest // config.degrees_per_datum) * (largest + 1)
    refuse_beyond_memory(f"degrees = {largest}: their features", BYTES * features)
    truths_key, local_key, datum_key, scaled_key = jax.random.split(jax.random.key(config.seed), 4)
    do = functools.partial
    energies = Task("free_energy", do(free_energies, config, truths_key), "free_energy")
    local = [
        Task(_local_name(truth), do(local_coefficients, config, local_key, truth), "local")
        for truth in TRUTHS
    ]
    one_datum = [
        Task(_masses_name(noise), do(masses, config, datum_key, noise), "masses")
        for noise in config.datum_noises
    ]
    scaled = [
        Task(
            _scaled_name(degree, noise, pattern),
            do(scaled_up, config, jax.random.fold_in(scaled_key, degree), degree, noise, pattern),
            "scaled_up",
        )
        for degree in config.degrees
        for noise in config.noises
        for pattern in PATTERNS
    ]
    return [energies, *local, *one_datum, *scaled]


def _local_name(truth: str) -> str:
    return f"local.{truth.replace('^', '')}"


def _masses_name(noise: float) -> str:
    return f"masses.{noise}"


def _scaled_name(degree: int, noise: float, pattern: str) -> str:
    return f"scaled_up.{degree}.{noise}.{pattern}"


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Make one labelled dataset of all results; NaN where a quantity was not computed.

    It holds the variables of ``free_energies`` [truth, …], ``local_coefficients`` [truth, …],
    ``masses`` [datum_noise, …] and ``scaled_up`` [degree, noise, pattern, …], those that
    ``with_theory`` adds, and ``degrees_per_datum``.
    """
    local = joined("truth", TRUTHS, [results[_local_name(truth)] for truth in TRUTHS])
    noises = config.datum_noises
    one_datum = joined("datum_noise", noises, [results[_masses_name(noise)] for noise in noises])
    scaled = joined(
        "degree",
        config.degrees,
        [
            joined(
                "noise",
                config.noises,
                [
                    joined("pattern", PATTERNS, [results[_scaled_name(d, s, p)] for p in PATTERNS])
                    for s in config.noises
                ],
            )
            for d in config.degrees
        ],
    )
    parts = [results["free_energy"].drop_attrs(), local, one_datum, scaled]
    merged = xr.merge(parts, join="outer")
    return with_theory(merged.assign(degrees_per_datum=config.degrees_per_datum))


def with_theory(dataset: xr.Dataset) -> xr.Dataset:
    """Add what theorems say, and what follows from the numbers and is shown beside them.

    λ and m of the products, ``learning_coefficient`` and ``multiplicity`` [truth], and λ of the
    powers, ``power_learning_coefficient`` [truth]; λ given one datum at each function,
    ``datum_learning_coefficient`` [function]. ``exact_…`` are the same as fractions.
    ``fixed_design_slope`` and ``power_slope`` [truth, between_n] are dF_n/d log n between
    neighbouring n, the first averaged over data sets. ``mass_from_densities`` [datum_noise,
    function, radius] are masses in the ratios of ``density_at_one`` / ``density_near_zero``, of
    which the last is the exact one. ``least_distance`` is that of two functions in L²(q).
    ``nats_per_factor`` is what a coefficient of size 1 costs, and ``threshold_noise`` the noise
    below which, to leading order, the truth x is learnt at every large degree.
    """
    of_products = [theory.skalse_polynomial(truth) for truth in TRUTHS]
    of_powers = [
        theory.power_coefficients(FACTORS, [c != 0 for c in targets(truth)]) for truth in TRUTHS
    ]
    # Σ_k c_k = 1 has a coefficient that is not 0, whose product has a gradient: every solution is
    # a regular point of one equation.
    of_datum = [theory.regular(1)] * len(FUNCTIONS)
    added = dataset.assign(
        multiplicity=("truth", [known.multiplicity for known in of_products]),
        mass_from_densities=_mass_from_densities(dataset),
        least_distance=_least_distance(),
        nats_per_factor=decay_rate(),
        threshold_noise=_threshold_noise(float(dataset["degrees_per_datum"])),
    )
    for name, axis, known in (
        ("learning_coefficient", "truth", of_products),
        ("power_learning_coefficient", "truth", of_powers),
        ("datum_learning_coefficient", "function", of_datum),
    ):
        added[name] = (axis, [float(each.learning_coefficient) for each in known])
        added[f"exact_{name}"] = (axis, [str(each.learning_coefficient) for each in known])
    n = dataset["large_n"].to_numpy().astype(float)
    added = added.assign_coords(between_n=np.sqrt(n[1:] * n[:-1]))
    for name, curve in (
        ("fixed_design_slope", dataset["fixed_design_normalised_free_energy"].mean("replicate")),
        ("power_slope", dataset["power_normalised_free_energy"]),
    ):
        rows = curve.transpose("truth", "large_n").to_numpy()
        added[name] = (("truth", "between_n"), np.diff(rows, axis=1) / np.diff(np.log(n)))
    return added


def _mass_from_densities(dataset: xr.Dataset) -> xr.DataArray:
    weight = dataset["density_at_one"] / dataset["density_near_zero"]
    exact = dataset["posterior_mass"].sel(route="exact", drop=True)
    return weight / weight.isel(function=-1, drop=True) * exact.isel(function=-1, drop=True)


def _least_distance() -> float:
    """Compute the least distance of two of the functions in L²(U[−1, 1])."""
    coefficients = np.array([targets(function) for function in FUNCTIONS])
    pairs = coefficients[:, None] - coefficients[None, :]
    squares = np.einsum("ijk,kl,ijl->ij", pairs, gram(), pairs)
    return float(np.sqrt(np.min(squares[np.triu_indices(len(coefficients), 1)])))


def _threshold_noise(degrees_per_datum: float) -> float:
    """Compute σ at which the gain n/6σ² of the truth x equals the cost of its coefficient."""
    return math.sqrt(1 / degrees_per_datum / 3 / (2 * decay_rate()))
