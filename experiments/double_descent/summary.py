"""Medians over designs with intervals, gains by more parameters, and the s at which they end."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import binom

from . import Config
from .features import POLYNOMIALS

Floats = NDArray[np.float64]
COVERAGE = 0.95
RESAMPLES = 300
METHODS = ("minimum norm", "best ridge", "Bayes")
# Digits that a singular value of double precision has left where errors count as resolved.
MAX_RELATIVE_ERROR = 1e-2
# Share of the noise's variance below which residuals count as interpolation.
INTERPOLATED = 0.01
EPSILON = float(np.finfo(float).eps)


class Interval(NamedTuple):
    """A value with the ends of its interval, of one shape."""

    value: Floats
    low: Floats
    high: Floats


def median_interval(values: Floats) -> Interval:
    """Take the median over the first axis with an interval by order statistics, leaving out NaN.

    It covers with 95 % or more from six values on, whatever their distribution; of fewer it is
    their range. It is NaN where no value is left.
    """
    ordered = np.sort(values, axis=0)
    count = np.isfinite(values).sum(axis=0)
    outside = np.maximum(binom.ppf((1 - COVERAGE) / 2, count, 0.5) - 1, 0).astype(int)
    places = ((count - 1) // 2, count // 2, outside, count - 1 - outside)
    lower, upper, low, high = (
        np.take_along_axis(ordered, np.maximum(place, 0)[None], axis=0)[0] for place in places
    )
    return Interval((lower + upper) / 2, low, high)


def gains(below: Floats, last: Floats) -> Floats:
    """Compute log₁₀ of the median error at the last p over the least median at p < n, by scale.

    ``below`` [..., scale, p, D] and ``last`` [..., scale, D] give [..., scale]: below zero where
    more parameters than data help.
    """
    least = np.median(below, axis=-1).min(axis=-1)
    return np.asarray(np.log10(np.median(last, axis=-1) / least))


def crossings(scales: Floats, gain: Floats) -> Floats:
    """Find between which s the gain [..., scale] is below zero around its least value: [..., 2].

    By linear interpolation. It is NaN where the gain is nowhere below zero, and an end of the
    scales where it is below zero there. Scales at which the gain is NaN are left out.
    """
    flat = gain.reshape(-1, gain.shape[-1])
    ends = np.full((len(flat), 2), np.nan)
    for row, each in zip(ends, flat, strict=True):
        known = np.isfinite(each)
        s, g = scales[known], each[known]
        if not g.size or g.min() >= 0:
            continue
        best = int(g.argmin())
        for place, step in ((0, -1), (1, 1)):
            i = best
            while 0 <= i + step < g.size and g[i + step] < 0:
                i += step
            j = i + step
            row[place] = s[i]
            if 0 <= j < g.size:
                row[place] = s[i] + (s[j] - s[i]) * g[i] / (g[i] - g[j])
    return ends.reshape(*gain.shape[:-1], 2)


def bootstrapped(
    scales: Floats, below: Floats, last: Floats, seed: int
) -> tuple[Interval, Interval, Floats]:
    """Compute gains [..., scale], crossings [..., 2], and how many resamples have any [...].

    Intervals are percentiles over resampled designs, the last axis of ``below`` [..., scale, p, D]
    and ``last`` [..., scale, D].
    """
    count = last.shape[-1]
    indices = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    gain = gains(below, last)
    again = np.stack([gains(below[..., i], last[..., i]) for i in indices])
    ends = crossings(scales, again)
    helped = np.isfinite(ends[..., 0]).mean(axis=0)
    tails = (1 - COVERAGE) / 2, (1 + COVERAGE) / 2
    return (
        Interval(gain, *np.quantile(again, tails, axis=0)),
        Interval(crossings(scales, gain), *_quantiles(ends, tails)),
        np.asarray(helped),
    )


def _quantiles(values: Floats, tails: tuple[float, float]) -> Floats:
    """Take quantiles over the first axis of what is not NaN, NaN where nothing is left."""
    some = np.isfinite(values).any(axis=0)
    filled = np.where(some, values, 0.0)
    return np.where(some, np.nanquantile(filled, tails, axis=0), np.nan)


def summarised(
    config: Config,
    fits: xr.Dataset,
    tempered: xr.Dataset,
    exact: Mapping[float, xr.Dataset],
    cut: xr.Dataset,
    nets: xr.Dataset,
) -> xr.Dataset:
    """Summarise all results over designs.

    ``test_error`` [estimator, family, scale, parameters, target, noise] is a median with its
    interval. Of minimum norm with p ≤ n it is that of orthonormal functions of the same span at the
    s next to 0, which is the same in exact arithmetic; of more monomials it is the exact one, NaN
    where there is none, and of others NaN where it is not ``resolved`` [family, scale, parameters],
    which says where double precision holds minimum norm. ``gain`` [estimator, family, scale,
    target, noise] is that of ``gains`` at the last p known, and ``helping_scale`` [estimator,
    family, target, noise, end] that of ``crossings``. ``free_energy`` is the mean of F_n over noise
    above that of the best p, ``barrier`` F_n at p = n above the worse of the best p on both sides,
    ``evidence_parameters`` the p of the least F_n, and ``evidence_scale`` its s at the last p.
    """
    errors = {
        "minimum norm": _of_minimum_norm(config, fits, exact),
        "best ridge": fits["best_ridge"],
        "Bayes": fits["bayes"],
    }
    data = {}
    along = ("family", "scale", "parameters", "target", "noise")
    parts = [_with_ends("test_error", each, along) for each in errors.values()]
    for name in parts[0]:
        data[name] = xr.concat(
            [part[name] for part in parts], xr.Variable("estimator", list(METHODS))
        )
    data |= _gains(config, errors)
    data |= _evidence(config, fits)
    data["resolved"] = resolved_of(fits)
    data |= _with_ends(
        "tempered_error", tempered["tempered_error"], ("family", "beta", "parameters")
    )
    data["counted_directions"] = tempered["counted_directions"].median("design")
    data |= _with_ends(
        "double_precision_error", cut["double_precision_error"], ("cutoff", "parameters")
    )
    data |= _nets(config, nets)
    data["exact_bound"] = xr.concat(
        [each["bound"].max(["design", "parameters"]) for each in exact.values()],
        xr.Variable("exact_scale", list(exact)),
    )
    return xr.Dataset(data).assign(
        sample_size=config.sample_size, shown_scale=config.shown_scale, num_designs=config.designs
    )


def resolved_of(fits: xr.Dataset) -> xr.DataArray:
    """Say where double precision holds minimum norm, by the median condition of Φ."""
    return EPSILON * fits["condition"].median("design") < MAX_RELATIVE_ERROR


def _of_minimum_norm(
    config: Config, fits: xr.Dataset, exact: Mapping[float, xr.Dataset]
) -> xr.DataArray:
    """Put together the errors of minimum norm, from where they are known best."""
    error = fits["minimum_norm"].copy(deep=True)
    few = error["parameters"] <= config.sample_size
    first = min(config.scales, key=abs)
    by_span = {family: "normalised Legendre" for family in POLYNOMIALS} | {"Fourier": "Fourier"}
    best = xr.concat(
        [
            error.sel(family=by_span[family]).sel(scale=first, drop=True)
            for family in error["family"].to_numpy()
        ],
        error["family"],
    )
    error = error.where(~few, best)
    error = error.where(few | (resolved_of(fits) & (error["family"] != "monomial")))
    for scale, known in exact.items():
        place = {"family": "monomial", "scale": scale, "parameters": known["parameters"]}
        found = known["minimum_norm"].pad(design=(0, config.designs - known.sizes["design"]))
        error.loc[place] = found.transpose(*error.sel(place).dims)
    return error


def _with_ends(name: str, values: xr.DataArray, axes: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """Name medians over designs with the ends of their intervals."""
    ordered = values.transpose("design", *axes)
    found = median_interval(ordered.to_numpy())
    plain = ordered.isel(design=0, drop=True)
    names = (name, f"{name}_low", f"{name}_high")
    return {each: plain.copy(data=part) for each, part in zip(names, found, strict=True)}


def _gains(config: Config, errors: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Compute gains and crossings of all methods and families."""
    rows = {
        (method, family): _gain(config, error.sel(family=family))
        for method, error in errors.items()
        for family in error["family"].to_numpy().tolist()
    }
    methods = xr.Variable("estimator", list(errors))
    families = errors["Bayes"]["family"]
    return {
        name: xr.concat(
            [xr.concat([rows[m, f][name] for f in families.to_numpy().tolist()], families)
             for m in errors],
            methods,
        )
        for name in rows[METHODS[0], families.to_numpy()[0]]
    }  # fmt: skip


def _gain(config: Config, error: xr.DataArray) -> dict[str, xr.DataArray]:
    """Compute gain and crossings of one method and family, at the last p that is known."""
    axes = ("target", "noise", "scale")
    above = error["parameters"] > config.sample_size
    # Some designs alone are solved exactly.
    known = error.sel(parameters=above).isel(target=0, noise=0, drop=True).notnull()
    used = error.isel(design=known.any(["parameters", "scale"]).to_numpy())
    below = used.sel(parameters=error["parameters"] < config.sample_size)
    beyond = used.sel(parameters=above)
    seen = known.any("design")
    index = xr.DataArray(np.arange(seen.sizes["parameters"]), dims="parameters")
    place = (seen * index).max("parameters")
    last = beyond.isel(parameters=place)
    gain, ends, helped = bootstrapped(
        error["scale"].to_numpy(),
        below.transpose(*axes, "parameters", "design").to_numpy(),
        last.transpose(*axes, "design").to_numpy(),
        config.seed,
    )
    plain = error.isel(design=0, parameters=0, drop=True).transpose(*axes)
    data = {}
    for name, part in zip(("gain", "gain_low", "gain_high"), gain, strict=True):
        data[name] = plain.copy(data=part)
    one = plain.isel(scale=0, drop=True).expand_dims({"end": ["from", "to"]}, axis=-1)
    names = ("helping_scale", "helping_scale_low", "helping_scale_high")
    for name, part in zip(names, ends, strict=True):
        data[name] = one.copy(data=part)
    data["helped_share"] = one.isel(end=0, drop=True).copy(data=helped)
    data["gain_parameters"] = (
        last["parameters"].where(seen.any("parameters"), 0).drop_vars("parameters")
    )
    return data


def _evidence(config: Config, fits: xr.Dataset) -> dict[str, xr.DataArray]:
    """Summarise the evidence along p: its height, its maximum, and a barrier at p = n."""
    free, n = fits["mean_free_energy"], config.sample_size
    height = free - free.min("parameters")
    below, above = (
        free.sel(parameters=side).min("parameters")
        for side in (free["parameters"] < n, free["parameters"] > n)
    )
    barrier = free.sel(parameters=n, drop=True) - below.where(below > above, above)
    chosen = fits["evidence_parameters"]
    picked = fits["bayes"].sel(parameters=chosen) / fits["bayes"].min("parameters")
    cell = ("family", "scale", "target", "noise")
    pooled = chosen.stack(data_set=("design", "draw"))
    scales = free["scale"].to_numpy()[free.isel(parameters=-1).argmin("scale").to_numpy()]
    best_scale = free.isel(parameters=-1, scale=0, drop=True).copy(data=scales)
    beyond = (chosen > n).mean(["design", "draw"])
    return {
        **_with_ends("free_energy", height, ("family", "scale", "parameters", "target", "noise")),
        **_with_ends("barrier", barrier, cell),
        **_with_ends("evidence_regret", picked.mean("draw"), cell),
        **_quartiles("evidence_parameters", pooled, "data_set"),
        **_quartiles("evidence_scale", best_scale, "design"),
        "evidence_beyond": beyond,
    }


def _quartiles(name: str, values: xr.DataArray, over: str) -> dict[str, xr.DataArray]:
    """Name the median and the quartiles of what takes few values."""
    ordered = values.transpose(over, ...)
    ends = {"": 0.5, "_quarter": 0.25, "_three_quarters": 0.75}
    plain = ordered.isel({over: 0}, drop=True)
    parts = np.quantile(ordered.to_numpy(), list(ends.values()), axis=0, method="nearest")
    return {f"{name}{end}": plain.copy(data=part) for end, part in zip(ends, parts, strict=True)}


def _nets(config: Config, nets: xr.Dataset) -> dict[str, xr.DataArray]:
    """Summarise nets over repeats, and count those that interpolate."""
    data: dict[str, xr.DataArray] = {}
    for name in ("net_error", "net_training_error"):
        data |= _with_ends(name, nets[name].rename(repeat="design"), ("net_parameters",))
    residual = nets["net_training_error"] / config.noises[0] ** 2
    data["net_interpolating"] = (residual < INTERPOLATED).mean("repeat")
    return data
