"""The study: exact posteriors and SGD runs of every model, and how their rankings agree."""

import functools
from collections.abc import Mapping

import numpy as np
import xarray as xr

from slt_jax.estimators import bic, sbic
from slt_jax.run.sweep import Task

from . import Config
from .families import TESTING, TRAINING, VALIDATION, Family, families, latents, points, sample
from .luck import crossing, draw_luck
from .posterior import BAYES, outputs, posteriors
from .ranking import PROTOCOLS, protocol_scores, regret, signs, tau
from .runs import Cells, run_outputs, scored, trained

CRITERIA = ("F_n", "WBIC", "WAIC", "LOO", "BIC", "sBIC")
SOURCES = ("SGD", "posterior")
# The orders of models that rankings are held to.
REFERENCES = ("Gibbs G_g", "Bayes B_g", "F_n")
# Models whose losses differ by less than this, in nats over all n data, tie: twenty times as many
# data would not make it one nat.
TIE_IN_TOTAL = 0.05
# Nor are two models told apart whose difference is within two standard errors.
TIE_IN_ERRORS = 2.0
# Fewer latents than this that carry the posterior, in the poorest scramble, are too few.
MIN_EFFECTIVE_SIZE = 10.0
LUCK_TESTS = (10, 20, 100)


def cells_of(config: Config) -> Cells:
    """List the pairs of noise and n."""
    return [(noise, n) for noise in config.noises for n in config.sample_sizes]


def run_counts(largest: int) -> tuple[int, ...]:
    """List the powers of two from 1 to ``largest``."""
    return tuple(2**k for k in range(largest.bit_length()))


def tasks(config: Config) -> list[Task]:
    """List all work, model by model."""
    do = functools.partial
    models = [
        Task(f"{family.name}.{label}", do(results_of, config, i, j), family.name)
        for i, family in enumerate(families(config))
        for j, label in enumerate(family.labels)
    ]
    return [*models, Task("luck", do(luck_case, config), "luck")]


def results_of(config: Config, which: int, index: int) -> xr.Dataset:
    """Compute the posterior of one model on all data sets, and train and score its runs.

    Those of ``posteriors`` and ``scored`` on [cell, replicate, …].
    """
    family, cells = families(config)[which], cells_of(config)
    model = family.models[index]
    draw = functools.partial(sample, family, config.seed)
    data = draw(TRAINING, config.data_sets, config.sample_sizes[-1])
    tests = [
        draw(stream, config.data_sets, config.test_sizes[-1]) for stream in (TESTING, VALIDATION)
    ]
    at = points(family)
    exact, draws = posteriors(
        model, latents(model, config), data, at, cells, config.seed, config.runs
    )
    problem, positions, diverged = trained(model, config, data, cells)
    rest = (cells, at, (tests[0], tests[1]), config.test_sizes)
    by_source = (
        scored(functools.partial(run_outputs, problem, positions), diverged, *rest),
        scored(functools.partial(outputs, model, draws), np.zeros_like(diverged), *rest),
    )
    true, test, validation = (np.stack(part) for part in zip(*by_source, strict=True))
    axes = ("cell", "replicate")
    return xr.Dataset(
        {
            **{name: (axes, values) for name, values in exact.items()},
            "true_loss": (("source", *axes, "run"), true),
            "test_loss": (("source", *axes, "run", "test_size"), test),
            "validation_loss": (("source", *axes, "run", "test_size"), validation),
            "diverged": ((*axes, "run"), diverged),
            "num_parameters": model.dimension,
        },
        coords={
            "cell": np.arange(len(cells)), "run": np.arange(config.runs),
            "test_size": list(config.test_sizes), "source": list(SOURCES),
        },
    )  # fmt: skip


def luck_case(config: Config) -> xr.Dataset:
    """Draw the case in which the best run misleads.

    ``misled`` [protocol, luck_test, luck_run] is the share of data sets on which the model of the
    larger G_g has the lesser score, with its standard error; ``log_crossing`` [luck_test] the log₁₀
    of the number of runs from which it is to be expected; ``luck_gibbs`` and ``luck_scatter``
    [luck_model] the means of G_g and of its part over runs; ``luck_score`` [protocol, luck_model,
    luck_test, luck_run] the mean scores.
    """
    counts = run_counts(config.luck_runs)
    luck = draw_luck(config.seed, config.luck_data_sets, LUCK_TESTS, counts)
    order = np.sign(luck.gibbs[1] - luck.gibbs[0])[:, None, None]
    scores = np.stack([luck.mean, luck.best])
    wrong = np.sign(scores[:, 1] - scores[:, 0]) != order
    root = np.sqrt(config.luck_data_sets)
    axes = ("luck_protocol", "luck_test", "luck_run")
    score_axes = ("luck_protocol", "luck_model", "luck_test", "luck_run")
    return xr.Dataset(
        {
            "misled": (axes, wrong.mean(axis=1)),
            "misled_se": (axes, wrong.std(axis=1, ddof=1) / root),
            "log_crossing": ("luck_test", crossing(luck, LUCK_TESTS)),
            "luck_gibbs": ("luck_model", luck.gibbs.mean(axis=1)),
            "luck_gibbs_se": ("luck_model", luck.gibbs.std(axis=1, ddof=1) / root),
            "luck_scatter": ("luck_model", luck.scatter.mean(axis=1)),
            "luck_score": (score_axes, scores.mean(axis=2)),
            "luck_score_se": (score_axes, scores.std(axis=2, ddof=1) / root),
        },
        coords={
            "luck_protocol": ["mean", "best"], "luck_model": ["degree 3", "degree 8"],
            "luck_test": list(LUCK_TESTS), "luck_run": list(counts),
        },
    )  # fmt: skip


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Make one labelled dataset of how rankings agree, family by family, and the case of luck.

    See ``agreement`` for its variables, here with the axes (family, cell).
    """
    parts, known = [], families(config)
    for family in known:
        each = [results[f"{family.name}.{label}"].drop_attrs() for label in family.labels]
        models = xr.concat(each, dim="model", join="exact")
        parts.append(agreement(family, models, cells_of(config)))
    joined = xr.concat(parts, dim=xr.Variable("family", [each.name for each in known]))
    cells = cells_of(config)
    return xr.merge([joined, results["luck"].drop_attrs()]).assign(
        title=("family", [each.title for each in known]),
        noise=("cell", [noise for noise, _ in cells]),
        sample_size=("cell", [n for _, n in cells]),
    )


def agreement(family: Family, models: xr.Dataset, cells: Cells) -> xr.Dataset:
    """Compare all rankings of one family with the references, data set by data set.

    ``tau`` [reference, criterion, cell, replicate] of the exact references, and ``regret``
    [criterion, cell, replicate], by how many nats over n data the G_g of the model chosen exceeds
    the least; the same of runs as in ``run_agreement`` [source, …]. ``ties`` [reference, cell,
    replicate] is the share of pairs that tie, and ``converged`` [cell, replicate] whether the
    posteriors of all models are known well enough: the others are left out as NaN.
    """
    values = {name: np.moveaxis(models[name].to_numpy(), 0, -1) for name in (*BAYES, *ERRORS)}
    converged = np.all(
        (values["effective_size"] >= MIN_EFFECTIVE_SIZE) | (values["gibbs_error_se"] == 0), axis=-1
    )
    left_out = np.where(converged, 0.0, np.nan)
    n = np.array([size for _, size in cells], float)[:, None, None]
    criteria = criteria_of(family, models, values, n)
    orders = orders_of(values, n)
    regrets = [n[..., 0] * regret(c, values["gibbs_error"]) + left_out for c in criteria]
    by_source = [
        run_agreement(models.sel(source=source), values["gibbs_error"], orders, n, left_out)
        for source in SOURCES
    ]
    axes = ("cell", "replicate")
    whole = xr.Dataset(
        {
            "tau": (
                ("reference", "criterion", *axes),
                np.stack([[tau(c, o) + left_out for c in criteria] for o in orders]),
            ),
            "regret": (("criterion", *axes), np.stack(regrets)),
            "ties": (("reference", *axes), np.stack([np.mean(o == 0, axis=-1) for o in orders])),
            "converged": (axes, converged),
            "num_diverged": (axes, models["diverged"].sum(["model", "run"]).to_numpy()),
        },
        coords={"reference": list(REFERENCES), "criterion": list(CRITERIA)},
    )
    runs = xr.concat(by_source, dim=xr.Variable("source", list(SOURCES)))
    return xr.merge([whole, runs])


def run_agreement(
    models: xr.Dataset, gibbs: np.ndarray, orders: list[np.ndarray], n: np.ndarray,
    left_out: np.ndarray,
) -> xr.Dataset:  # fmt: skip
    """Compare the rankings by groups of runs of one source with the references.

    ``run_tau`` [run_reference, protocol, run_count, test_size, cell, replicate] and ``run_regret``
    are means over groups. The last reference is the mean true loss of the second half of the runs,
    which no group has. ``scatter`` [cell, replicate] is the standard deviation of the true loss
    over runs, mean over models.
    """
    losses = {name: np.moveaxis(models[name].to_numpy(), 0, -1) for name in RUN_LOSSES}
    half = models.sizes["run"] // 2
    references = [*orders, order_of_runs(losses["true_loss"][:, :, half:], n)]
    counts, sizes = run_counts(half), models["test_size"].to_numpy()
    shape = (len(PROTOCOLS), len(counts), len(sizes), *left_out.shape)
    taus, regrets = np.empty((len(references), *shape)), np.empty(shape)
    for j, k in np.ndindex(len(counts), len(sizes)):
        test, validation = (
            np.moveaxis(losses[name][:, :, :half, k], 2, -1) for name in RUN_LOSSES[1:]
        )  # [cell, R, model, run]
        scores = protocol_scores(test, validation, counts[j])
        for i, name in enumerate(PROTOCOLS):
            score = np.moveaxis(scores[name], -1, 0)  # [group, cell, R, model]
            for o, order in enumerate(references):
                taus[o, i, j, k] = tau(score, order).mean(axis=0) + left_out
            regrets[i, j, k] = (n[..., 0] * regret(score, gibbs)).mean(axis=0) + left_out
    axes = ("cell", "replicate")
    run_axes = ("protocol", "run_count", "test_size", *axes)
    return xr.Dataset(
        {
            "run_tau": (("run_reference", *run_axes), taus),
            "run_regret": (run_axes, regrets),
            "scatter": (axes, scatter_of(losses["true_loss"])),
        },
        coords={
            "run_reference": [*REFERENCES, "loss of runs"], "protocol": list(PROTOCOLS),
            "run_count": list(counts), "test_size": sizes, "cell": models["cell"].to_numpy(),
        },
    )  # fmt: skip


ERRORS = ("free_energy_se", "bayes_error_se", "gibbs_error_se")
RUN_LOSSES = ("true_loss", "test_loss", "validation_loss")


def scatter_of(true_loss: np.ndarray) -> np.ndarray:
    """Return the standard deviation over runs of their true loss [cell, R, run, model], mean."""
    finite = np.where(np.isfinite(true_loss), true_loss, np.nan)
    return np.asarray(np.nanmean(np.nanstd(finite, axis=2), axis=-1))


def criteria_of(
    family: Family, models: xr.Dataset, values: Mapping[str, np.ndarray], n: np.ndarray
) -> list[np.ndarray]:
    """Return the scores [cell, R, model] of ``CRITERIA``; NaN of sBIC where λ is not known."""
    energies, theories = values["bic_energy"], family.theories()
    by_dimension = np.stack(
        [
            bic(energies[..., i], int(d), n[..., 0])
            for i, d in enumerate(models["num_parameters"].to_numpy())
        ],
        axis=-1,
    )
    singular = np.full(energies.shape, np.nan)
    if theories is not None:
        for cell, r in np.ndindex(energies.shape[:2]):
            singular[cell, r] = sbic(energies[cell, r], theories, float(n[cell, 0, 0]))
    names = ("free_energy", "wbic", "waic", "loo")
    return [*(values[name] for name in names), by_dimension, singular]


def orders_of(values: Mapping[str, np.ndarray], n: np.ndarray) -> list[np.ndarray]:
    """Return the orders [cell, R, pair] of ``REFERENCES``, 0 for models that tie.

    A tie is a difference of at most ``TIE_IN_TOTAL`` nats over all data, plus ``TIE_IN_ERRORS``
    standard errors of the difference.
    """
    return [
        signs(values[name], least + TIE_IN_ERRORS * of_difference(values[f"{name}_se"]))
        for name, least in (
            ("gibbs_error", TIE_IN_TOTAL / n), ("bayes_error", TIE_IN_TOTAL / n),
            ("free_energy", TIE_IN_TOTAL),
        )
    ]  # fmt: skip


def order_of_runs(true_loss: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the order [cell, R, pair] of the mean true loss of runs [cell, R, run, model]."""
    mean, count = true_loss.mean(axis=2), true_loss.shape[2]
    with np.errstate(invalid="ignore"):
        errors = np.nan_to_num(true_loss.std(axis=2, ddof=1) / np.sqrt(count))
    return signs(mean, TIE_IN_TOTAL / n + TIE_IN_ERRORS * of_difference(errors))


def of_difference(errors: np.ndarray) -> np.ndarray:
    """Return the standard errors [..., pair] of differences of independent errors [..., model]."""
    i, j = np.triu_indices(errors.shape[-1], 1)
    return np.hypot(errors[..., i], errors[..., j])
