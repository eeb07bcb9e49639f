"""The study: exact curves of nets and problems, without data and of data sets, and their n(k)."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jax import Array
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from slt_jax import theory
from slt_jax.run.precision import in_float64
from slt_jax.run.sweep import Task
from slt_jax.theory import Theory

from . import Config
from .evidence import kink_asymptote, without_data
from .nets import Activation, Net, input_rule
from .sets import SetCurves, curves_of_sets

SMOOTH: tuple[Activation, ...] = ("softplus", "silu")
# At k = 1 the best unit for one kink is steeper by n^{1/5}, and needs as many nodes more.
KINK_DECADES = 14
# A Bayes factor of 1.1, and a tenth of the λ of the ReLU nets: what no one would see.
THRESHOLDS = {"free energy": 0.1, "λ(n)": 0.05}
HALF = 0.5


class Setting(NamedTuple):
    """A problem: its name, the units that learn it, and whether the truth has a kink."""

    slug: str
    name: str
    units: int
    kink: bool


SETTINGS = (
    Setting("zero_1", "truth 0, one unit", 1, False),
    Setting("zero_2", "truth 0, two units", 2, False),
    Setting("kink_1", "one kink, one unit", 1, True),
)


def nets(sharpnesses: Sequence[float]) -> Iterator[Net]:
    """List the ReLU net and the smooth ones."""
    yield Net("relu")
    for activation in SMOOTH:
        yield from (Net(activation, k) for k in sharpnesses)


def known(setting: Setting, activation: Activation) -> Theory | None:
    """Return λ and m, or None where the smooth net has no optimum.

    One smooth unit with σ(0) = 0 is a product, with σ(0) ≠ 0 a is regular. Two SiLU units have the
    ideal of a₁b₁ + a₂b₂ and a₁b₁² + a₂b₂², as if no Taylor coefficient vanished; for two softplus
    units see the package.
    """
    if activation == "relu":
        return theory.relu_slopes(setting.units, int(setting.kink))
    if setting.kink:
        return None
    if activation == "silu":
        return theory.vandermonde(setting.units, 1, 1)
    if setting.units == 1:
        return theory.regular(1)
    return theory.sum_of(theory.regular(1), theory.monomial([1, 1]))


def sizes_of(config: Config, setting: Setting) -> np.ndarray:
    """Return the n without data, on a logarithmic grid."""
    decades = min(config.decades, KINK_DECADES) if setting.kink else config.decades
    return 10.0 ** (np.arange(decades * config.per_decade + 1) / config.per_decade)


def tasks(config: Config) -> list[Task]:
    """List all curves; those of an activation go one after the other."""
    do, key = functools.partial, jax.random.key(config.seed)
    without = [
        Task(f"without_data.{at.slug}.{slug(net)}", do(population, config, at, net), net.activation)
        for at in SETTINGS
        for net in nets(config.sharpnesses)
    ]
    sets = [
        Task(f"data_sets.{at.slug}.{slug(net)}", do(data_sets, config, key, at, net),
             net.activation)
        for at in SETTINGS
        for net in nets(config.set_sharpnesses)
    ]  # fmt: skip
    return [*without, *sets]


def slug(net: Net) -> str:
    """Name a net in a file."""
    return "relu" if net.activation == "relu" else f"{net.activation}_{net.sharpness:g}"


def population(config: Config, setting: Setting, net: Net) -> xr.Dataset:
    """Compute the curve without data of one net.

    ``population_free_energy`` [n] is −log ∫φ e^{−nK} in nats, ``population_coefficient`` its
    derivative nE[K] in log n, and ``flat_mass`` the posterior mass of |b_h| < 1/k for all h, each
    with a bound ``…_error``.
    """
    n = sizes_of(config, setting)
    fine, coarse = (
        without_data(net, setting.units, setting.kink, order, n)
        for order in (config.nodes, config.nodes - 2)
    )
    names = ("population_free_energy", "population_coefficient", "flat_mass")
    return xr.Dataset(with_bounds("n", names, fine, coarse), coords={"n": n})


def with_bounds(
    axes: Any, names: Sequence[str], fine: Sequence[Any], coarse: Sequence[Any]
) -> dict[str, Any]:
    """Name values and what they differ by from those of a rule with two nodes less on a panel.

    Errors fall geometrically with the nodes, so that the coarser rule's exceeds the finer's.
    """
    pairs = list(zip(names, fine, coarse, strict=True))
    values = {name: (axes, value) for name, value, _ in pairs}
    return values | {f"{name}_error": (axes, np.abs(one - two)) for name, one, two in pairs}


@in_float64
def normal_draws(key: Array, shape: tuple[int, ...]) -> np.ndarray:
    """Draw N(0, 1) in float64."""
    return np.asarray(jax.random.normal(key, shape))


def data_sets(config: Config, key: Array, setting: Setting, net: Net) -> xr.Dataset:
    """Compute the curves of data sets whose inputs are the rule of x, and whose noise is the same.

    ``normalised_free_energy`` F_n − nL_n(w₀) [set_n, replicate], ``coefficient_of_set`` its
    derivative in log n, and ``scaled_bayes_excess``, nB_g to leading order: n/2 times the squared
    distance of the posterior mean function from f₀, as log E_w p = −½(E_w f − f₀)² + … for
    Gaussian noise. The first two have a bound ``…_error``. Noise does not depend on the net.
    """

    inputs = input_rule(config.set_nodes).nodes.size
    noise = normal_draws(key, (config.data_sets, inputs))

    def curves(order: int) -> SetCurves:
        orders = (order, config.set_nodes)
        return curves_of_sets(net, setting.units, setting.kink, orders, config.set_sizes, noise)

    fine, coarse = curves(config.set_nodes), curves(config.set_nodes - 2)
    names = ("normalised_free_energy", "coefficient_of_set", "scaled_bayes_excess")
    axes = ("set_n", "replicate")
    return xr.Dataset(
        with_bounds(axes, names, fine, coarse),
        coords={"set_n": np.asarray(config.set_sizes, float)},
    )


# --- one dataset ------------------------------------------------------------------------------


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Make one labelled dataset of all curves, and of the n(k) where they leave those of ReLU.

    Curves of ``population`` and ``data_sets`` are [setting, activation, sharpness, …], those of the
    ReLU net begin with ``relu_`` and have no sharpness. ``crossover_size`` [setting, activation,
    sharpness, criterion] is the n(k) without data, ``set_crossover_size`` [setting, activation,
    set_sharpness, criterion, group] that of means over a group of data sets, NaN where there is
    none; ``return_size`` [activation, sharpness] the n at which half the mass of two units is
    flat. ``kink_asymptote`` [activation, sharpness, n] is the derived F_n of one kink.
    """
    without = _joined(results, "without_data", "sharpness", config.sharpnesses)
    sets = _joined(results, "data_sets", "set_sharpness", config.set_sharpnesses)
    both = xr.merge([without, sets], join="outer")
    both = both.assign_coords(
        criterion=list(THRESHOLDS), threshold=("criterion", list(THRESHOLDS.values()))
    )
    both["crossover_size"] = crossovers(
        both, "n", ("population_free_energy", "population_coefficient")
    )
    grouped = both[["normalised_free_energy", "relu_normalised_free_energy", "coefficient_of_set",
                    "relu_coefficient_of_set"]]  # fmt: skip
    grouped = grouped.coarsen(replicate=config.data_sets // config.groups).mean()
    grouped = grouped.rename(replicate="group").assign_coords(both["criterion"].coords)
    both["set_crossover_size"] = crossovers(
        grouped, "set_n", ("normalised_free_energy", "coefficient_of_set")
    ).assign_coords(group=np.arange(config.groups))
    both["return_size"] = xr.apply_ufunc(
        functools.partial(first_above, threshold=HALF), both["n"],
        both["flat_mass"].sel(setting=SETTINGS[1].name),
        input_core_dims=[["n"], ["n"]], vectorize=True,
    ).drop_vars("setting")  # fmt: skip
    both["kink_asymptote"] = xr.DataArray(
        [[kink_asymptote(Net(a, k), both["n"].to_numpy()) for k in config.sharpnesses]
         for a in SMOOTH],
        dims=("activation", "sharpness", "n"),
    )  # fmt: skip
    return both.assign_coords(net=["relu", *SMOOTH]).assign(theory_of())


def crossovers(data: xr.Dataset, size: str, names: tuple[str, str]) -> xr.DataArray:
    """Find the first n at which each of two quantities is off that of ReLU by its threshold."""
    found = []
    for name, threshold in zip(names, THRESHOLDS.values(), strict=True):
        gap = np.abs(data[name] - data[f"relu_{name}"])
        find = functools.partial(first_above, threshold=threshold)
        found.append(
            xr.apply_ufunc(find, data[size], gap, input_core_dims=[[size], [size]], vectorize=True)
        )
    return xr.concat(found, dim=xr.Variable("criterion", list(THRESHOLDS)))


def first_above(n: np.ndarray, values: np.ndarray, threshold: float) -> float:
    """Return the first n at which a curve exceeds a threshold, NaN if it never does.

    Between the n of the grid it is the root of the monotone cubic interpolant in log n.
    """
    finite = np.isfinite(values)
    log_n, excess = np.log(n[finite]), values[finite] - threshold
    above = np.flatnonzero(excess > 0)
    if not above.size:
        return float("nan")
    first = int(above[0])
    if first == 0:
        return float(n[finite][0])
    curve = PchipInterpolator(log_n, excess)
    return float(np.exp(brentq(curve, log_n[first - 1], log_n[first])))


def theory_of() -> dict[str, Any]:
    """Return λ, λ as a fraction and m [setting, net]; NaN, "none" and 0 where there is no λ."""
    activations: tuple[Activation, ...] = ("relu", *SMOOTH)
    table = [[known(setting, each) for each in activations] for setting in SETTINGS]

    def each(read: Any, none: Any) -> tuple[tuple[str, str], list[list[Any]]]:
        return ("setting", "net"), [[none if t is None else read(t) for t in row] for row in table]

    return {
        "learning_coefficient": each(lambda t: float(t.learning_coefficient), np.nan),
        "exact_learning_coefficient": each(lambda t: str(t.learning_coefficient), "none"),
        "multiplicity": each(lambda t: t.multiplicity, 0),
    }


def _joined(
    results: Mapping[str, xr.Dataset], kind: str, axis: str, sharpnesses: Sequence[float]
) -> xr.Dataset:
    """Join the tasks of a kind, those of ReLU under names of their own."""
    by_setting = []
    for setting in SETTINGS:
        smooth = [
            xr.concat(
                [results[f"{kind}.{setting.slug}.{slug(Net(a, k))}"].drop_attrs()
                 for k in sharpnesses],
                dim=xr.Variable(axis, list(sharpnesses)),
            )
            for a in SMOOTH
        ]  # fmt: skip
        curves = xr.concat(smooth, dim=xr.Variable("activation", list(SMOOTH)))
        relu = results[f"{kind}.{setting.slug}.relu"].drop_attrs()
        relu = relu.rename({name: f"relu_{name}" for name in relu.data_vars})
        by_setting.append(xr.merge([curves, relu]))
    labels = xr.Variable("setting", [setting.name for setting in SETTINGS])
    return xr.concat(by_setting, dim=labels, join="outer")
