"""The studies of learning exponents: location families, power-law spectra, small nets."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.curves.fixed_design import fixed_design_free_energy
from slt_jax.curves.jobs import problem_key
from slt_jax.data import is_designable
from slt_jax.estimators import local_exponents, mean_over_data_sets
from slt_jax.models import problems_of
from slt_jax.oracles.location import (
    ENTROPY,
    ContactCurve,
    Curve,
    ParabolaCurve,
    conditional_errors,
    expected_errors,
)
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.run.devices import refuse_beyond_memory
from slt_jax.run.precision import in_float64
from slt_jax.run.sweep import Task, joined

from . import Config
from .spectrum import PowerLawSpectrum

ERRORS = ("bayes", "gibbs", "variance")
CLEAR_STANDARD_ERRORS = 2.0
BYTES = 8


def location_curves(config: Config) -> dict[str, Curve]:
    """The location families by name. Raises ValueError as the families do."""
    parabolas: dict[str, Curve] = {f"parabola {c:g}": ParabolaCurve(c) for c in config.parabolas}
    return parabolas | {f"contact {j} {k}": ContactCurve(j, k) for j, k in config.contacts}


def factors(config: Config) -> dict[str, PowerLawSpectrum]:
    """The spectrum that all others differ from in one factor, "base", and these others.

    Raises ValueError as the spectra do.
    """
    width = max(config.widths)
    base = {"width": width, "alpha": config.alpha}
    changes: dict[str, dict[str, float]] = {
        "base": {},
        "width / 1000": {"width": width / 1000},
        "prior scale / 3": {"prior_scale": 1 / 3},
        "prior scale × 3": {"prior_scale": 3.0},
        "noise × 3": {"noise": 3.0},
        "prior decay 0.5": {"prior_decay": 0.5},
        "target decay 0.5": {"target_decay": 0.5},
        "target decay −0.25": {"target_decay": -config.alpha / 2},
        "both decays 0.5": {"prior_decay": 0.5, "target_decay": 0.5},
        "alpha × 2": {"alpha": 2 * config.alpha},
    }
    return {label: PowerLawSpectrum(**(base | change)) for label, change in changes.items()}


def exact_curve(curve: Curve, sizes: Sequence[int]) -> xr.Dataset:
    """E over data sets of B_g, G_g and tr Var_w m [n], with their bounds ``_error``."""
    along_n = [expected_errors(curve, n) for n in sizes]
    variables: dict[str, Any] = {}
    for name in ERRORS:
        exact = [getattr(errors, name) for errors in along_n]
        variables[name] = ("n", np.array([float(e.value) for e in exact]))
        variables[f"{name}_error"] = ("n", np.array([float(e.error) for e in exact]))
    return xr.Dataset(variables, coords={"n": list(sizes)})


def measured_curve(curve: Curve, key: Array, config: Config) -> xr.Dataset:
    """G_g as it is measured: its mean over data sets and their standard error [measured_n, repeat].

    Data sets are independent, also of those of other sizes.
    """
    shape = (config.repeats, config.data_sets)
    means, errors = [], []
    for n in config.measured_sizes:
        with jax.enable_x64(True):
            noise = jax.random.normal(jax.random.fold_in(key, n), (*shape, 2))
        losses = conditional_errors(curve, n, np.asarray(noise).reshape(-1, 2))[0].reshape(shape)
        means.append(losses.mean(axis=1))
        errors.append(losses.std(axis=1, ddof=1) / np.sqrt(config.data_sets))
    axes = ("measured_n", "repeat")
    return xr.Dataset(
        {"measured": (axes, np.stack(means)), "measured_se": (axes, np.stack(errors))},
        coords={"measured_n": list(config.measured_sizes)},
    )


def spectra(config: Config, varied: Mapping[str, PowerLawSpectrum]) -> xr.Dataset:
    """B_g and G_g of each factor [factor, spectrum_n], and G_g of each width [width, spectrum_n].

    ``factor_exponent`` and ``width_exponent`` are σ before the data see all directions.
    """
    sizes = config.spectrum_sizes
    bayes, gibbs = zip(*(spectrum.errors(sizes) for spectrum in varied.values()), strict=True)
    wide = [PowerLawSpectrum(width, config.slow_alpha) for width in config.widths]
    return xr.Dataset(
        {
            "factor_bayes": (("factor", "spectrum_n"), np.stack(bayes)),
            "factor_gibbs": (("factor", "spectrum_n"), np.stack(gibbs)),
            "factor_exponent": ("factor", [spectrum.exponent for spectrum in varied.values()]),
            "width_gibbs": (
                ("width", "spectrum_n"), np.stack([spectrum.errors(sizes)[1] for spectrum in wide]),
            ),
            "width_exponent": wide[0].exponent,
        },
        coords={"factor": list(varied), "spectrum_n": list(sizes), "width": list(config.widths)},
    )  # fmt: skip


@in_float64
def designs(config: Config, key: Array) -> xr.Dataset:
    """G_g of regression on random normal inputs [design_n, design], and in closed form [design_n].

    The latter is that of independent directions, which a design of few inputs mixes.
    """
    spectrum = PowerLawSpectrum(config.design_width, config.alpha)
    values = []
    for n in config.design_sizes:
        keys = jax.random.split(jax.random.fold_in(key, n), config.designs)
        inputs = (np.asarray(jax.random.normal(k, (n, config.design_width))) for k in keys)
        values.append([spectrum.design_error(standard) for standard in inputs])
    return xr.Dataset(
        {
            "design_gibbs": (("design_n", "design"), np.array(values)),
            "design_closed": ("design_n", spectrum.errors(config.design_sizes)[1]),
        },
        coords={"design_n": list(config.design_sizes)},
    )


def check_net(problem: Problem) -> None:
    """Raises ValueError for a problem whose F_n on a fixed design is not exact under any prior."""
    has_scale = getattr(problem.model, "prior_scale", None) is not None
    if not (has_scale and is_designable(problem)) or oracle_for(problem) is None:
        raise ValueError(
            f"{problem.name}: needs a realisable regression with features, an exact oracle and a "
            "prior_scale"
        )


def interpolated_for(problem: Problem, widest_prior: float) -> Problem:
    """The problem with enough interpolation nodes for the steep units of a wide prior.

    A net that interpolates at ``num_nodes`` points has as many times more of them as the prior is
    wider than N(0, 1), the same for all priors, so that these share inputs and noise.
    """
    model: Any = problem.model
    if widest_prior <= 1 or not hasattr(model, "num_nodes"):
        return problem
    finer = dataclasses.replace(model, num_nodes=math.ceil(model.num_nodes * widest_prior))
    return dataclasses.replace(problem, model=finer)


def net_free_energy(problem: Problem, config: Config, scale: float) -> xr.Dataset:
    """F_n − nL_n(w₀) of a net under the prior N(0, scale²) [large_n, design], with bounds."""
    key = problem_key(config.seed, problem)
    net = interpolated_for(problem, max(config.prior_scales))
    return fixed_design_free_energy(
        net, scale, key, config.net_sizes, config.net_designs, config.oracle_refinement
    )


def tasks(config: Config) -> list[Task]:
    """All work, in groups that share compiled programs.

    Raises ValueError for a location family or a spectrum that is none, for an unknown or
    unsuitable net, and for inputs that do not fit into memory.
    """
    inputs = config.design_sizes[-1] * config.design_width
    refuse_beyond_memory(f"design_sizes = {config.design_sizes[-1]}: its inputs", BYTES * inputs)
    data_key, design_key = jax.random.split(jax.random.key(config.seed))
    do = functools.partial
    work = []
    for index, (name, curve) in enumerate(location_curves(config).items()):
        key = jax.random.fold_in(data_key, index)
        work += [
            Task(_name(name, "exact"), do(exact_curve, curve, config.sizes), name),
            Task(_name(name, "measured"), do(measured_curve, curve, key, config), name),
        ]
    work += [
        Task("spectra", do(spectra, config, factors(config)), "spectra"),
        Task("designs", do(designs, config, design_key), "spectra"),
    ]
    for net in problems_of(config.nets):
        check_net(net)
        work += [
            Task(_name(net.name, f"{scale:g}"), do(net_free_energy, net, config, scale), net.name)
            for scale in config.prior_scales
        ]
    return work


def _name(*parts: str) -> str:
    return ".".join(parts).replace(" ", "_")


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """One labelled dataset of the tasks, errors in nats per datum and free energies in total nats.

    ``bayes``, ``gibbs`` and ``variance`` [curve, n] with ``_error``, ``bayes_over_gibbs``, and
    ``gibbs_limit`` cn^−σ of the theory, to which E[G_g] tends, NaN where c has no simple form;
    ``measured`` [curve, measured_n, repeat] with ``_se``; ``normalised_fixed_design_free_energy``
    [net, prior_scale, large_n, net_design] with ``_error``; and what ``family_constants``,
    ``spectra``, ``designs``, ``width_exponents`` and ``net_errors`` say.
    """
    names = list(location_curves(config))
    exact, measured = (
        joined("curve", names, [results[_name(name, kind)] for name in names])
        for kind in ("exact", "measured")
    )
    constants = family_constants(config)
    exact["bayes_over_gibbs"] = exact["bayes"] / exact["gibbs"]
    exact["gibbs_limit"] = constants["amplitude"] * exact["n"] ** -constants["exponent"]
    net_names = [net.name for net in problems_of(config.nets)]
    of_nets = [
        joined(
            "prior_scale",
            config.prior_scales,
            [results[_name(net, f"{scale:g}")] for scale in config.prior_scales],
        )
        for net in net_names
    ]
    nets = joined("net", net_names, of_nets).rename(design="net_design")
    spectral = results["spectra"].drop_attrs()
    parts = [exact, measured, constants, spectral, width_exponents(spectral)]
    return xr.merge([*parts, results["designs"].drop_attrs(), nets, net_errors(nets)])


def family_constants(config: Config) -> xr.Dataset:
    """The theory's ``exponent`` σ and ``amplitude`` c of E[G_g], and L(w₀), of each family [curve].

    c is NaN where it has no simple form. ``entropy`` is the loss of the truth itself, a lower bound
    of all ``optimal_loss``; ``title`` is for figures.
    """
    curves = location_curves(config)
    families = curves.values()
    titles = [f"parabola, c = {c:g}" for c in config.parabolas]
    titles += [f"contact ({j}, {k})" for j, k in config.contacts]
    amplitudes = [np.nan if curve.amplitude is None else curve.amplitude for curve in families]
    return xr.Dataset(
        {
            "title": ("curve", titles),
            "exponent": ("curve", [curve.exponent for curve in families]),
            "amplitude": ("curve", amplitudes),
            "optimal_loss": ("curve", [curve.optimal_loss for curve in families]),
            "entropy": ENTROPY,
        },
        coords={"curve": list(curves)},
    )


def width_exponents(spectral: xr.Dataset) -> xr.Dataset:
    """``width_local_exponent`` [width, spectrum_middle]: σ of G_g between neighbouring sizes."""
    gibbs = spectral["width_gibbs"].transpose("width", "spectrum_n").to_numpy()
    middle, local = local_exponents(spectral["spectrum_n"].to_numpy(), gibbs)
    return xr.Dataset(
        {"width_local_exponent": (("width", "spectrum_middle"), local)},
        coords={"width": spectral["width"], "spectrum_middle": middle},
    )


def net_errors(nets: xr.Dataset) -> xr.Dataset:
    """nE[B_g] = dE[F_n]/d log n of each net, and the local exponent of its mean over designs.

    ``scaled_bayes_error`` [net, prior_scale, large_middle, net_design], in nats, between the sizes;
    ``net_local_exponent`` [net, prior_scale, large_between] between the middles, NaN up to the last
    one where the mean is not clearly positive: under a narrow prior the first data teach nothing,
    and noise has no logarithm.
    """
    n = nets["large_n"].to_numpy().astype(float)
    free_energy = nets["normalised_fixed_design_free_energy"]
    values = free_energy.transpose("net", "prior_scale", "large_n", "net_design").to_numpy()
    middle = np.sqrt(n[1:] * n[:-1])
    scaled = np.diff(values, axis=2) / np.diff(np.log(n))[:, None]
    local = np.full((*scaled.shape[:2], len(middle) - 1), np.nan)
    for place in np.ndindex(scaled.shape[:2]):
        mean = mean_over_data_sets(scaled[place])
        unclear = np.flatnonzero(mean.value <= CLEAR_STANDARD_ERRORS * mean.standard_error)
        first = int(unclear[-1]) + 1 if unclear.size else 0
        if first < len(middle) - 1:
            error = mean.value[first:] / middle[first:]
            local[place][first:] = local_exponents(middle[first:], error)[1]
    return xr.Dataset(
        {
            "scaled_bayes_error": (("net", "prior_scale", "large_middle", "net_design"), scaled),
            "net_local_exponent": (("net", "prior_scale", "large_between"), local),
        },
        coords={
            "net": nets["net"], "prior_scale": nets["prior_scale"], "large_middle": middle,
            "large_between": np.sqrt(middle[1:] * middle[:-1]),
        },
    )  # fmt: skip
