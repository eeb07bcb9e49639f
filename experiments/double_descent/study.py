"""The study: errors and evidences of all families, exact monomials beside them, and nets."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from slt_jax.run.sweep import Task, joined

from . import Config
from .exact import (
    Decomposition,
    bayes,
    best_ridge,
    counted_directions,
    decompose,
    errors,
    free_energy,
    minimum_norm,
    rotated,
)
from .extended import minimum_norm_monomials
from .features import FAMILIES, Family, features, moments
from .net import PARAMETERS_PER_UNIT, train
from .summary import summarised
from .targets import TARGETS, values

# Penalties of which the best is taken, four to a decade.
PENALTIES = np.logspace(-14, 4, 73)
# Designs that are decomposed together, for the sake of memory.
TOGETHER = 12
TEST_POINTS = 2000
CELL = ("target", "noise")
METHODS = ("minimum_norm", "best_ridge", "bayes")


def tasks(config: Config) -> list[Task]:
    """List all work, in groups that share features or compiled programs."""
    do = functools.partial
    fits = [
        Task(f"fit.{_slug(family)}.{scale:g}", do(fit, config, family, scale), family)
        for family in FAMILIES
        for scale in config.scales
    ]
    tempered = [
        Task(f"tempered.{_slug(family)}", do(temper, config, family), family) for family in FAMILIES
    ]
    exact = [
        Task(f"exact.{scale:g}", do(exact_monomials, config, scale), "exact")
        for scale in config.exact_scales
    ]
    cut = Task("cutoff", do(cut_off, config), "monomial")
    nets = [Task(f"net.{width}", do(nets_of, config, width), "net") for width in config.net_widths]
    return [*fits, *tempered, cut, *exact, *nets]


def _slug(family: str) -> str:
    return family.replace(" ", "_")


def designs(config: Config) -> np.ndarray:
    """Draw the inputs x ~ U[−1, 1] of all designs [D, n]; each depends on its index alone."""
    streams = [np.random.default_rng([config.seed, 0, d]) for d in range(config.designs)]
    return np.stack([stream.uniform(-1, 1, config.sample_size) for stream in streams])


def noise_draws(config: Config) -> np.ndarray:
    """Draw standard normal noise on all designs [D, draw, n], each by its indices alone."""
    shape = (config.designs, config.noise_draws)
    streams = [np.random.default_rng([config.seed, 1, *place]) for place in np.ndindex(shape)]
    noise = np.stack([stream.normal(size=config.sample_size) for stream in streams])
    return noise.reshape(*shape, -1)


def fit(config: Config, family: Family, scale: float) -> xr.Dataset:
    """Compute the errors and evidences of one family with one scaling.

    ``minimum_norm``, ``best_ridge`` and ``bayes`` [parameters, design, target, noise] are expected
    test errors, ``mean_free_energy`` is the mean of F_n over noise, and ``condition``
    [parameters, design] is that of Φ. ``evidence_parameters`` [design, draw, target, noise] is the
    p at which F_n of a data set is least.
    """
    x, noise = designs(config), noise_draws(config)
    parts = [
        _fit(config, family, scale, x[i : i + TOGETHER], noise[i : i + TOGETHER])
        for i in range(0, len(x), TOGETHER)
    ]
    return xr.concat(parts, "design")


def _fit(
    config: Config, family: Family, scale: float, x: np.ndarray, noise: np.ndarray
) -> xr.Dataset:
    """Compute what ``fit`` returns for some of the designs."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in (*METHODS, "F", "each", "cond")}
    sigmas = config.noises
    for at in _decompositions(config, family, scale, x):
        truth, turned = rotated(at, values(x)), rotated(at, noise)
        columns["minimum_norm"].append(errors(at, minimum_norm(at), truth, sigmas))
        columns["best_ridge"].append(best_ridge(at, truth, sigmas, PENALTIES))
        columns["bayes"].append(bayes(at, truth, sigmas, config.prior_scale))
        mean, each = _free_energies(at, truth, turned, config)
        columns["F"].append(mean)
        columns["each"].append(each)
        columns["cond"].append(at.condition)
    least = np.asarray(config.parameter_sizes)[np.argmin(columns["each"], axis=0)]
    axes = ("parameters", "design", *CELL)
    return xr.Dataset(
        {
            **{name: (axes, np.array(columns[name])) for name in METHODS},
            "mean_free_energy": (axes, np.array(columns["F"])),
            "condition": (axes[:2], np.array(columns["cond"])),
            "evidence_parameters": (("design", "draw", *CELL), least),
        },
        coords=_coordinates(config),
    )


def _free_energies(
    at: Decomposition, truth: np.ndarray, turned: np.ndarray, config: Config
) -> tuple[np.ndarray, np.ndarray]:
    """Compute F_n, its mean [D, target, noise] and of each draw [D, draw, target, noise]."""
    mean, each = [], []
    for sigma in config.noises:
        data = truth[:, None] + sigma * turned[:, :, None]
        mean.append(free_energy(at, truth**2 + sigma**2, sigma, config.prior_scale))
        each.append(free_energy(at, data**2, sigma, config.prior_scale))
    return np.stack(mean, axis=-1), np.stack(each, axis=-1)


def _decompositions(
    config: Config, family: Family, scale: float, x: np.ndarray
) -> Iterator[Decomposition]:
    """Yield the decompositions of some designs at each p."""
    phi = features(family, x, config.parameter_sizes[-1])
    projections = moments(family, config.parameter_sizes[-1])
    for p in config.parameter_sizes:
        yield decompose(family, scale, phi[..., :p], projections[:, :p])


def _coordinates(config: Config) -> dict[str, list[Any]]:
    return {
        "parameters": list(config.parameter_sizes), "target": list(TARGETS),
        "noise": list(config.noises),
    }  # fmt: skip


def temper(config: Config, family: Family) -> xr.Dataset:
    """Compute posterior means of other β at the shown scale, function and noise.

    ``tempered_error`` [beta, parameters, design] is the test error, and ``counted_directions``
    half the number of directions that the data determine.
    """
    x, sigma, tau = designs(config), config.noises[0], config.prior_scale
    parts = []
    for i in range(0, len(x), TOGETHER):
        some = x[i : i + TOGETHER]
        rows = []
        for at in _decompositions(config, family, config.shown_scale, some):
            truth = rotated(at, values(some))
            rows.append(
                [
                    (
                        bayes(at, truth, [sigma], tau, beta)[:, 0, 0],
                        counted_directions(at, sigma, tau, beta),
                    )
                    for beta in config.betas
                ]
            )
        parts.append(np.array(rows))
    # [parameters, beta, quantity, design]
    both = np.concatenate(parts, axis=-1)
    axes = ("parameters", "beta", "design")
    return xr.Dataset(
        {
            "tempered_error": (axes, both[:, :, 0]),
            "counted_directions": (axes, both[:, :, 1]),
        },
        coords={"parameters": list(config.parameter_sizes), "beta": list(config.betas)},
    )


def exact_sizes(config: Config, scale: float) -> list[int]:
    """Return the p > n at which monomials are solved in extended precision."""
    most = config.parameter_sizes[-1] if scale == 0 else config.exact_terms
    return [p for p in config.parameter_sizes if config.sample_size < p <= most]


def exact_monomials(config: Config, scale: float) -> xr.Dataset:
    """Solve some designs with monomials in extended precision at p > n.

    ``minimum_norm`` [parameters, design, target, noise], and ``bound`` [parameters, design], which
    bounds its relative error.
    """
    sizes, squares = exact_sizes(config, scale), np.array(config.noises) ** 2
    results, bounds = [], []
    for x in designs(config)[: config.exact_designs]:
        found = minimum_norm_monomials(x, sizes, scale, config.digits)
        results.append(found.bias[..., None] + found.variance[:, None, None] * squares)
        # The values of f, of sum of squares about n, meet the same matrix as the noise does.
        bounds.append(2 * found.bound * (1 + config.sample_size / squares.min()))
    axes = ("design", "parameters")
    return xr.Dataset(
        {"minimum_norm": ((*axes, *CELL), np.array(results)), "bound": (axes, np.array(bounds))},
        coords=_coordinates(config) | {"parameters": sizes},
    )


def cut_off(config: Config) -> xr.Dataset:
    """Fit monomials in double precision with each cut-off of singular values.

    ``double_precision_error`` [cutoff, parameters, design] is that of the first function, noise and
    exact scale, on the designs that are solved exactly.
    """
    x, noise = designs(config)[: config.exact_designs], config.noises[:1]
    rows = []
    for at in _decompositions(config, "monomial", config.exact_scales[0], x):
        truth = rotated(at, values(x))
        rows.append(
            [errors(at, minimum_norm(at, cut), truth, noise)[:, 0, 0] for cut in config.cutoffs]
        )
    return xr.Dataset(
        {"double_precision_error": (("parameters", "cutoff", "design"), np.array(rows))},
        coords={"parameters": list(config.parameter_sizes), "cutoff": list(config.cutoffs)},
    )


def nets_of(config: Config, width: int) -> xr.Dataset:
    """Train nets of one width on the first function and noise, each on a design and noise.

    ``net_error`` and ``net_training_error`` [repeat].
    """
    count, sigma = config.net_repeats, config.noises[0]
    x = designs(config)[:count]
    f = values(x)[:, 0]
    y = f + sigma * noise_draws(config)[:count, 0]
    test_x = (np.arange(TEST_POINTS) + 0.5) * 2 / TEST_POINTS - 1
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 2), count)
    inputs, outputs, grid, truth = (
        jnp.asarray(each, float) for each in (x, y, test_x, values(test_x)[0])
    )
    rate = jnp.asarray(config.learning_rate, float)
    trained = train(width, keys, inputs, outputs, grid, truth, config.net_steps, rate)
    return xr.Dataset(
        {
            "net_error": ("repeat", np.asarray(trained.test_error, float)),
            "net_training_error": ("repeat", np.asarray(trained.training_error, float)),
        }
    )


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Make one labelled dataset of all results, as ``summarised`` says."""
    by_scale = [
        joined("scale", config.scales, [results[f"fit.{_slug(f)}.{s:g}"] for s in config.scales])
        for f in FAMILIES
    ]
    fits = joined("family", list(FAMILIES), by_scale)
    tempered = joined("family", list(FAMILIES), [results[f"tempered.{_slug(f)}"] for f in FAMILIES])
    exact = {scale: results[f"exact.{scale:g}"].drop_attrs() for scale in config.exact_scales}
    parameters = [PARAMETERS_PER_UNIT * width for width in config.net_widths]
    nets = joined("net_parameters", parameters, [results[f"net.{w}"] for w in config.net_widths])
    return summarised(config, fits, tempered, exact, results["cutoff"].drop_attrs(), nets)
