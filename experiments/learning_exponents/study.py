"""The studies of learning exponents: location families, power-law spectra, small nets."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jax import Array

from experiments.learning_exponents.spectrum import PowerLawSpectrum
from slt_jax.curves.jobs import problem_key
from slt_jax.curves.learning import LearningPlan, designed_growth
from slt_jax.data import is_designable
from slt_jax.models import named_problems
from slt_jax.oracles import oracle_for
from slt_jax.oracles.location import (
    ContactCurve,
    Curve,
    ParabolaCurve,
    conditional_errors,
    expected_errors,
)
from slt_jax.problem import Problem
from slt_jax.run.precision import in_float64
from slt_jax.run.sweep import Batch

ERRORS = ("bayes", "gibbs", "variance")


class Knob(NamedTuple):
    """A change of one field of a spectrum: what it is called, and the changed spectrum."""

    label: str
    spectrum: PowerLawSpectrum


class ExponentPlan(NamedTuple):
    """What to compute: location families at ``sizes`` exactly and at ``measured_sizes`` from data.

    ``data_sets`` of one measured curve, ``repeats`` of the whole measurement; ``alpha`` of the
    spectra at ``spectrum_sizes``, ``slow_alpha`` of those of several ``widths``; ``design_width``
    and ``designs`` of random ones; ``nets`` under ``prior_scales`` at ``net_sizes``.
    """

    parabolas: tuple[float, ...]
    contacts: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]
    measured_sizes: tuple[int, ...]
    data_sets: int
    repeats: int
    alpha: float
    slow_alpha: float
    widths: tuple[float, ...]
    spectrum_sizes: tuple[int, ...]
    design_width: int
    design_sizes: tuple[int, ...]
    designs: int
    nets: tuple[str, ...]
    prior_scales: tuple[float, ...]
    net_sizes: tuple[int, ...]
    net_designs: int
    oracle_refinement: int
    seed: int


def curves_of(plan: ExponentPlan) -> dict[str, Curve]:
    """The location families of a plan by name. Raises ValueError as the families do."""
    parabolas: dict[str, Curve] = {f"parabola {c:g}": ParabolaCurve(c) for c in plan.parabolas}
    return parabolas | {f"contact {j} {k}": ContactCurve(j, k) for j, k in plan.contacts}


def knobs_of(plan: ExponentPlan) -> list[Knob]:
    """The spectrum that all others differ from in one field, and these others."""
    width = max(plan.widths)
    base = PowerLawSpectrum(width=width, alpha=plan.alpha)
    changes: dict[str, dict[str, float]] = {
        "base": {},
        "width / 1000": {"width": width / 1000},
        "prior scale / 3": {"prior_scale": 1 / 3},
        "prior scale × 3": {"prior_scale": 3.0},
        "noise × 3": {"noise": 3.0},
        "prior decay 0.5": {"prior_decay": 0.5},
        "target decay 0.5": {"target_decay": 0.5},
        "target decay −0.25": {"target_decay": -plan.alpha / 2},
        "both decays 0.5": {"prior_decay": 0.5, "target_decay": 0.5},
        "alpha × 2": {"alpha": 2 * plan.alpha},
    }
    made = base.__dict__
    return [Knob(label, PowerLawSpectrum(**(made | new))) for label, new in changes.items()]


def exact_curve(curve: Curve, sizes: Sequence[int]) -> xr.Dataset:
    """E over data sets of B_g, G_g and tr Var_w m [n], with their bounds ``_error``."""
    found = [expected_errors(curve, n) for n in sizes]
    variables: dict[str, Any] = {}
    for name in ERRORS:
        exact = [getattr(errors, name) for errors in found]
        variables[name] = ("n", np.array([float(e.value) for e in exact]))
        variables[f"{name}_error"] = ("n", np.array([float(e.error) for e in exact]))
    return xr.Dataset(variables, coords={"n": list(sizes)})


def measured_curve(curve: Curve, key: Array, plan: ExponentPlan) -> xr.Dataset:
    """G_g as it is measured: its mean over data sets and their standard error [measured_n, repeat].

    Data sets are independent, also of those of other sizes.
    """
    shape = (plan.repeats, plan.data_sets)
    means, errors = [], []
    for n in plan.measured_sizes:
        with jax.enable_x64(True):
            noise = jax.random.normal(jax.random.fold_in(key, n), (*shape, 2))
        losses = conditional_errors(curve, n, np.asarray(noise).reshape(-1, 2))[0].reshape(shape)
        means.append(losses.mean(axis=1))
        errors.append(losses.std(axis=1, ddof=1) / np.sqrt(plan.data_sets))
    axes = ("measured_n", "repeat")
    return xr.Dataset(
        {"measured": (axes, np.stack(means)), "measured_se": (axes, np.stack(errors))},
        coords={"measured_n": list(plan.measured_sizes)},
    )


def spectra(plan: ExponentPlan) -> xr.Dataset:
    """B_g and G_g of every knob [knob, spectrum_n], and G_g of every width [width, spectrum_n]."""
    knobs = knobs_of(plan)
    bayes, gibbs = zip(*(knob.spectrum.errors(plan.spectrum_sizes) for knob in knobs), strict=True)
    wide = [PowerLawSpectrum(width, plan.slow_alpha) for width in plan.widths]
    found = [spectrum.errors(plan.spectrum_sizes)[1] for spectrum in wide]
    return xr.Dataset(
        {
            "knob_bayes": (("knob", "spectrum_n"), np.stack(bayes)),
            "knob_gibbs": (("knob", "spectrum_n"), np.stack(gibbs)),
            "knob_exponent": ("knob", [knob.spectrum.exponent for knob in knobs]),
            "width_gibbs": (("width", "spectrum_n"), np.stack(found)),
        },
        coords={
            "knob": [knob.label for knob in knobs], "spectrum_n": list(plan.spectrum_sizes),
            "width": list(plan.widths),
        },
    )  # fmt: skip


@in_float64
def designs(plan: ExponentPlan, key: Array) -> xr.Dataset:
    """G_g of regression on random normal inputs [design_n, design], and in closed form [design_n].

    The latter is that of independent directions, which a design of few inputs mixes.
    """
    spectrum = PowerLawSpectrum(plan.design_width, plan.alpha)
    values = []
    for n in plan.design_sizes:
        keys = jax.random.split(jax.random.fold_in(key, n), plan.designs)
        inputs = (np.asarray(jax.random.normal(k, (n, plan.design_width))) for k in keys)
        values.append([spectrum.design_error(standard) for standard in inputs])
    return xr.Dataset(
        {
            "design_gibbs": (("design_n", "design"), np.array(values)),
            "design_closed": ("design_n", spectrum.errors(plan.design_sizes)[1]),
        },
        coords={"design_n": list(plan.design_sizes)},
    )


def check_net(problem: Problem) -> None:
    """Raises ValueError for a problem whose F_n on a fixed design is not exact under any prior."""
    has_scale = getattr(problem.model, "prior_scale", None) is not None
    if not (has_scale and is_designable(problem)) or oracle_for(problem) is None:
        raise ValueError(
            f"{problem.name}: needs a realisable regression with features, an exact oracle and a "
            "prior_scale"
        )


def net_growth(problem: Problem, plan: ExponentPlan, scale: float) -> xr.Dataset:
    """F_n − nL_n(w₀) of a net under the prior N(0, scale²) [far_n, design], exact, with bounds."""
    learning = LearningPlan(
        exact_sizes=(),
        sample_sizes=(),
        far_sizes=plan.net_sizes,
        designs=plan.net_designs,
        oracle_refinement=plan.oracle_refinement,
    )
    return designed_growth(problem, scale, problem_key(plan.seed, problem), learning)


def exponent_batches(plan: ExponentPlan) -> dict[str, list[Batch]]:
    """All work, in groups that share compiled programs."""
    data_key, design_key = jax.random.split(jax.random.key(plan.seed))
    do, known = functools.partial, named_problems()
    groups: dict[str, list[Batch]] = {}
    for index, (name, curve) in enumerate(curves_of(plan).items()):
        key = jax.random.fold_in(data_key, index)
        groups[name] = [
            Batch(_name(name, "exact"), do(exact_curve, curve, plan.sizes)),
            Batch(_name(name, "measured"), do(measured_curve, curve, key, plan)),
        ]
    groups["spectra"] = [
        Batch("spectra", do(spectra, plan)),
        Batch("designs", do(designs, plan, design_key)),
    ]
    for name in plan.nets:
        groups[name] = [
            Batch(_name(name, f"{scale:g}"), do(net_growth, known[name], plan, scale))
            for scale in plan.prior_scales
        ]
    return groups


def _name(*parts: str) -> str:
    return ".".join(parts).replace(" ", "_")


def assemble_exponents(plan: ExponentPlan, batches: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """One labelled dataset of the batches of ``exponent_batches``.

    ``bayes``, ``gibbs`` and ``variance`` [curve, n] with ``_error``; ``measured`` [curve,
    measured_n, repeat] with ``_se``; what ``spectra`` and ``designs`` make; ``growth`` [net,
    prior_scale, far_n, design] with ``growth_error``.
    """

    def along(dimension: str, labels: Sequence[Any], parts: Sequence[xr.Dataset]) -> xr.Dataset:
        plain = [part.drop_attrs() for part in parts]
        return xr.concat(plain, dim=xr.Variable(dimension, list(labels)))

    names = list(curves_of(plan))
    parts = [
        along("curve", names, [batches[_name(name, kind)] for name in names])
        for kind in ("exact", "measured")
    ]
    parts += [batches[name].drop_attrs() for name in ("spectra", "designs")]
    nets = [
        along(
            "prior_scale",
            plan.prior_scales,
            [batches[_name(net, f"{scale:g}")] for scale in plan.prior_scales],
        )
        for net in plan.nets
    ]
    parts.append(along("net", plan.nets, nets).rename(design="net_design"))
    return xr.merge(parts)
