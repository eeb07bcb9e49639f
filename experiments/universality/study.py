"""The study: λ(n) of every target in every class, and how classes order the same targets."""

import functools
from collections.abc import Mapping

import jax
import numpy as np
import xarray as xr

from slt_jax import theory
from slt_jax.estimators import Estimate, mean_over_seeds
from slt_jax.run.sweep import Task, joined

from . import Config, conjugate, nets, pairs, ranks
from .pool import (
    TOP_DEGREE,
    ZERO,
    Design,
    Floats,
    Pool,
    design_of,
    fourier,
    legendre,
    monomials,
    pool_of,
)

NETS = ("tanh", "ReLU")
# The five classes, then those in which λ varies more.
CLASSES = (
    "tanh", "ReLU", "products", "monomials", "Fourier",
    "powers", "powers reversed", "monomials, any degree", "Fourier, any number",
)  # fmt: skip
LAWS = {
    "products": conjugate.PRODUCTS,
    "powers": conjugate.POWERS,
    "powers reversed": conjugate.REVERSED_POWERS,
}
# Classes in which λ is one number for all targets that they realise.
CONSTANT = ("products", "monomials", "Fourier")
NET_NOISE, FEATURE_NOISE, FITS, SAMPLES, ONE_UNIT = range(10, 15)
# A tenth of the noise over √n, which is 0.005 nats in nK.
ALLOWED_ERROR = 0.1
MIN_EFFECTIVE_DRAWS = 100.0
CALIBRATION_NODES, CALIBRATION_DRAWS = 400, 2**17


def tasks(config: Config) -> list[Task]:
    """List all work, in groups that share compiled programs."""
    do = functools.partial
    work = [Task("exact", do(exact_classes, config), "exact")]
    for net in NETS:
        work.append(Task(f"fit.{net}", do(fits, config, net), "exact"))
        work.append(Task(f"one_unit.{net}", do(calibration, config, net), net))
        work += [
            Task(f"sampled.{net}.{n}.{repeat}", do(sampled, config, net, n, repeat), net)
            for n in config.sizes
            for repeat in range(config.repeats)
        ]
    return work


def noises(config: Config, stream: int, count: int) -> Floats:
    """Draw standard normal noises [count, J], each of which depends on its own index alone."""
    seeds = [(config.seed, stream, i) for i in range(count)]
    return np.stack([np.random.default_rng(s).standard_normal(config.nodes) for s in seeds])


def units_of(config: Config, net: str) -> int:
    """Return the number of hidden units of a class of nets."""
    return config.tanh_units if net == "tanh" else config.relu_units


# --- exact classes ----------------------------------------------------------------------------


def exact_classes(config: Config) -> xr.Dataset:
    """Compute λ(n) of all classes but nets, [n, exact_class, target], relative to their own best.

    ``coefficient_se`` is that of a mean over noises and 0 where their expectation is exact;
    ``coefficient_error`` a bound; ``approximation_error`` [exact_class, target] the root mean
    square distance of the target to the class; ``limit`` its λ where the target is in the class.
    """
    design, pool = design_of(config.nodes), pool_of(config)
    names = CLASSES[len(NETS) :]
    far = {name: conjugate.best_error(_features(config, name, design), pool.values, design)
           for name in names}  # fmt: skip
    rows = [
        [_exact_class(config, name, design, pool, n, far[name]) for name in names]
        for n in config.sizes
    ]
    axes = ("n", "exact_class", "target")
    parts = {
        "coefficient": [[estimate.value for estimate, _ in row] for row in rows],
        "coefficient_se": [[estimate.standard_error for estimate, _ in row] for row in rows],
        "coefficient_error": [[bound for _, bound in row] for row in rows],
    }
    limits = [_limits(config, name, design, pool, far[name]) for name in names]
    return xr.Dataset(
        {
            **{name: (axes, np.array(part)) for name, part in parts.items()},
            "approximation_error": (axes[1:], np.stack([far[name] for name in names])),
            "limit": (axes[1:], np.stack(limits)),
        },
        coords={"n": list(config.sizes), "exact_class": list(names), "target": list(pool.names)},
    )


def _features(config: Config, name: str, design: Design) -> Floats:
    """Return the functions [J, k] that a class is spanned by."""
    if name in LAWS:
        return legendre(design.x, TOP_DEGREE)
    if name.startswith("monomials"):
        return monomials(design.x, config.degree)
    return fourier(design.x, config.harmonics)


def _numbers(config: Config, name: str) -> tuple[int, ...]:
    """Return the numbers of features among which a class chooses."""
    if name.startswith("monomials"):
        return tuple(range(1, config.degree + 2))
    return tuple(range(1, 2 * config.harmonics + 2, 2))


def _exact_class(
    config: Config, name: str, design: Design, pool: Pool, n: int, far: Floats
) -> tuple[Estimate, Floats]:
    """Compute λ(n) [T] of one class with its standard error and bound."""
    features, scale = _features(config, name, design), config.prior_scale
    nothing = np.zeros(len(far))
    beyond = 0.5 * n * far**2
    if name in LAWS:
        exact = conjugate.factorised(LAWS[name], pool.values, design, n, scale)
        return Estimate(exact.value, nothing, np.inf), exact.error
    if name in CONSTANT:
        value = conjugate.fixed_features(features, pool.values, design, n, scale)
        return Estimate(value - beyond, nothing, np.inf), 1e-9 * value
    drawn = noises(config, FEATURE_NOISE, config.feature_noises)
    both = np.concatenate([drawn, -drawn])
    by_noise = conjugate.unknown_number(
        features, _numbers(config, name), pool.values, both, design, n, scale
    )
    mean = mean_over_seeds(by_noise.reshape(len(far), 2, -1).mean(axis=1))
    return mean._replace(value=mean.value - beyond), nothing


def _limits(config: Config, name: str, design: Design, pool: Pool, far: Floats) -> Floats:
    """Compute λ [T] by theorem, NaN where the target is not in the class."""
    features = _features(config, name, design)
    root = np.sqrt(design.weight)
    weights = np.linalg.lstsq(root[:, None] * features, (root * pool.values).T)[0].T
    nonzero = np.abs(weights) > np.sqrt(ZERO)
    if name == "products":
        # λ is that of the essay's polynomial, whichever coefficients are zero.
        each = [theory.skalse_polynomial("0")] * len(far)
    elif name in LAWS:
        exponents = LAWS[name].exponents
        each = [theory.power_coefficients(exponents, row.tolist()) for row in nonzero]
    elif name in CONSTANT:
        each = [theory.regular(features.shape[1])] * len(far)
    else:
        numbers = np.array(_numbers(config, name))
        last = np.where(nonzero, np.arange(1, nonzero.shape[1] + 1), 1).max(axis=1)
        each = [theory.regular(int(numbers[numbers >= k][0])) for k in last]
    limits = np.array([float(one.learning_coefficient) for one in each])
    return np.where(far < ZERO, limits, np.nan)


# --- nets -------------------------------------------------------------------------------------


def fits(config: Config, net: str) -> xr.Dataset:
    """Search for the best net: ``approximation_error`` [target], an upper bound of its distance."""
    design, pool = design_of(config.nodes), pool_of(config)
    enough = 0.1 * ALLOWED_ERROR / np.sqrt(config.sizes[-1])
    errors = []
    for i, target in enumerate(pool.values):
        origin, known = pool.units.get(i, ("", None))
        errors.append(
            nets.best_error(
                net, target, design, units_of(config, net), config.fit_starts, enough,
                (config.seed, FITS, NETS.index(net), i), known if origin == net else None,
            )
        )  # fmt: skip
    return xr.Dataset(
        {"approximation_error": ("target", errors)}, coords={"target": list(pool.names)}
    )


def sampled(config: Config, net: str, n: int, repeat: int) -> xr.Dataset:
    """Average one set of draws of the prior: the three moments [sign, target, noise_pair]."""
    pool = pool_of(config)
    key = jax.random.key(config.seed)
    for part in (SAMPLES, NETS.index(net), n, repeat):
        key = jax.random.fold_in(key, part)
    moments = nets.prior_sampled(
        net, key, pool.values, noises(config, NET_NOISE, config.noises),
        design_of(config.nodes), n, config.prior_scale, units_of(config, net), config.draws,
    )  # fmt: skip
    axes = ("sign", "target", "noise_pair")
    return xr.Dataset(
        {name: (axes, leaf) for name, leaf in moments._asdict().items()},
        coords={"sign": [1, -1], "target": list(pool.names),
                "noise_pair": np.arange(config.noises)},
    )  # fmt: skip


def calibration(config: Config, net: str) -> xr.Dataset:
    """Compare λ(n) of a net of one unit at the last n, sampled and integrated, [target].

    ``one_unit_error`` is what half the nodes change. Two repeats at least give the standard error.
    """
    design, pool, n = design_of(config.nodes), pool_of(config), config.sizes[-1]
    scale, drawn = config.prior_scale, noises(config, NET_NOISE, config.noises)
    fixed = (pool.values, drawn, design, n, scale)
    full = config.draws >= CALIBRATION_DRAWS
    nodes = CALIBRATION_NODES if full else CALIBRATION_NODES // 2
    fine, coarse = (
        nets.one_unit_integrated(net, *fixed, count).coefficient.mean(axis=(0, 2))
        for count in (nodes, nodes // 2)
    )
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), ONE_UNIT), 8)
    draws = min(config.draws, CALIBRATION_DRAWS)
    repeats = [
        nets.prior_sampled(net, key, *fixed, 1, draws).coefficient.mean(axis=(0, 2)) for key in keys
    ]
    mean = mean_over_seeds(np.stack(repeats, axis=-1))
    return xr.Dataset(
        {
            "one_unit": ("target", mean.value),
            "one_unit_se": ("target", mean.standard_error),
            "exact_one_unit": ("target", fine),
            "exact_one_unit_error": ("target", np.abs(fine - coarse)),
        },
        coords={"target": list(pool.names)},
    )


# --- all together -----------------------------------------------------------------------------


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Make one labelled dataset: λ(n) [n, model_class, target] and what pairs of classes say.

    ``counted`` says which cells enter a comparison: those in which the target is in the class but
    for the allowed error, and enough draws are effective.
    """
    exact = results["exact"].drop_attrs()
    targets = exact["target"].to_numpy().tolist()
    far = np.stack([
        *(results[f"fit.{net}"]["approximation_error"].to_numpy() for net in NETS),
        *exact["approximation_error"].to_numpy(),
    ])  # fmt: skip
    rows = [_all_classes(config, results, i, n, far) for i, n in enumerate(config.sizes)]
    allowed = ALLOWED_ERROR / np.sqrt(np.array(config.sizes, float))
    effective = np.stack([row[1] for row in rows])
    with np.errstate(invalid="ignore"):
        counted = (far <= allowed[:, None, None]) & ~(effective < MIN_EFFECTIVE_DRAWS)
    axes = ("n", "model_class", "target")
    value, error, bound = (
        np.array([[part(each) for each in row[0]] for row in rows])
        for part in (lambda s: s.value, _standard_error, lambda s: s.bound)
    )
    largest = np.max(np.where(counted, value, -np.inf), axis=-1, keepdims=True)
    limits = np.concatenate([np.full((len(NETS), len(targets)), np.nan), exact["limit"]])
    dataset = xr.Dataset(
        {
            "coefficient": (axes, value),
            "coefficient_se": (axes, error),
            "coefficient_error": (axes, bound),
            "relative_coefficient": (axes, value / largest),
            "counted": (axes, counted),
            "effective_draws": (axes, effective),
            "approximation_error": (axes[1:], far),
            "allowed_error": ("n", allowed),
            "limit": (axes[1:], limits),
            "limit_is_constant": ("model_class", [name in CONSTANT for name in CLASSES]),
        },
        coords={"n": list(config.sizes), "model_class": list(CLASSES), "target": targets,
                "origin": ("target", list(pool_of(config).origins))},
    )  # fmt: skip
    one_unit = joined("net", NETS, [results[f"one_unit.{net}"] for net in NETS])
    of_pairs = pairs.compared(
        config.seed, config.bootstraps, CLASSES, targets, config.sizes, [row[0] for row in rows],
        counted,
    )  # fmt: skip
    return xr.merge([dataset, one_unit, of_pairs, pairs.by_theorem(CLASSES, targets, limits)])


def _all_classes(
    config: Config, results: Mapping[str, xr.Dataset], index: int, n: int, far: Floats
) -> tuple[list[ranks.Sampled], Floats]:
    """Return λ(n) of each class at one n, and the effective draws [class, T], NaN where exact."""
    exact = results["exact"].isel(n=index)
    known, effective = [], []
    for i, net in enumerate(NETS):
        runs = [results[f"sampled.{net}.{n}.{repeat}"] for repeat in range(config.repeats)]
        moments = nets.Moments(
            *(np.stack([run[name].to_numpy() for run in runs]) for name in nets.Moments._fields)
        )
        together = nets.pooled(moments)
        by_noise = together.coefficient.mean(axis=0)
        repeats = mean_over_seeds(np.moveaxis(moments.coefficient.mean(axis=(1, 3)), 0, -1))
        value = by_noise.mean(axis=-1) - 0.5 * n * far[i] ** 2
        draws = config.repeats * nets.BLOCK * -(-config.draws // nets.BLOCK)
        share = np.exp(2 * together.log_weight - together.log_square)
        effective.append(draws * share.min(axis=(0, 2)))
        known.append(
            ranks.Sampled(value, by_noise, repeats.standard_error, config.repeats - 1, 0 * value)
        )
    for name in CLASSES[len(NETS) :]:
        at = exact.sel(exact_class=name)
        value, error, bound = (
            at[part].to_numpy() for part in ("coefficient", "coefficient_se", "coefficient_error")
        )
        known.append(
            ranks.Sampled.exactly(value, bound)._replace(
                other_se=error, degrees_of_freedom=config.feature_noises - 1
            )
        )
        effective.append(np.full(len(value), np.nan))
    return known, np.stack(effective)


def _standard_error(known: ranks.Sampled) -> Floats:
    """Return the standard error of λ(n) [T]: over noises, and of all else."""
    if not known.by_noise.shape[1]:
        return known.other_se
    return np.hypot(mean_over_seeds(known.by_noise).standard_error, known.other_se)
