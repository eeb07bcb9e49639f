"""Skalse's polynomial by every route: free energy, local λ, posterior mass, and scaled up.

Each function makes one labelled dataset, which depends on its arguments alone.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.polynomial.legendre import leggauss

from experiments.skalse_polynomial import posterior_mass as regions
from experiments.skalse_polynomial.factorised import Block, expected_free_energy, factorised_moments
from experiments.skalse_polynomial.regression import gibbs, modulus_prior
from slt_jax.curves.jobs import in_precision, target_of, unfinished_reason
from slt_jax.data import fixed_design_statistics, statistics_along_n, statistics_of
from slt_jax.estimators import diagnostics, mean_over_seeds
from slt_jax.models import named_problems
from slt_jax.models.skalse import SkalsePolynomial
from slt_jax.oracles import Exact, oracle_for
from slt_jax.problem import Problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.nuts import NUTSSettings, nuts
from slt_jax.samplers.sgld import SGLDSettings, sgld
from slt_jax.samplers.smc import SMCSettings, tempered_smc
from slt_jax.statistics import Data, RegressionStatistics

FACTORS = SkalsePolynomial.factors
FUNCTIONS = ("1", "x", "x^2", "x^3", "x^4")
TRUTHS = ("0", *FUNCTIONS)
METHODS = ("exact", "NUTS", "SMC")
TEST_POINTS = 128
MAX_R_HAT = 1.05
MIN_ESS = 400.0
NOT_MIXED = 1.2
SMC_STEP = 0.4


def targets(truth: str) -> tuple[float, ...]:
    """True coefficients of x⁴, x³, x², x and 1, in the order of the model's features."""
    return tuple(float(truth == function) for function in FUNCTIONS[::-1])


def gram() -> np.ndarray:
    """G = E φφᵀ of (x⁴, x³, x², x, 1) under x ~ U[−1, 1], shape [5, 5]."""
    degrees = np.arange(4, -1, -1)
    total = np.add.outer(degrees, degrees)
    return np.where(total % 2 == 0, 1 / (total + 1.0), 0.0)


def free_energies(
    key: Array, data_sets: int, sizes: Sequence[int], far_sizes: Sequence[int], level: int
) -> xr.Dataset:
    """F_n − nL_n(w₀) of the six truths in total nats, exact, by three designs.

    ``free_energy`` [truth, n, replicate] of data sets that differ between truths by the truth
    alone; ``designed`` [truth, far_n, replicate] of the fixed design of ``fixed_design_statistics``;
    ``product`` and ``power`` [truth, far_n], the expectation over data sets on orthonormal
    features where coefficient k is a product of j_k parameters, or the j_k-th power of one.
    ``_error`` are error bounds. ``route_gap`` [truth, far_n] is the difference between the oracle
    and the one-dimensional integrals on the orthonormal design, ``route_bound`` what their
    bounds allow.
    """
    problem = named_problems()["skalse_0"]
    oracle = oracle_for(problem, level)
    assert oracle is not None
    data_key, design_key = jax.random.split(key)
    near = statistics_along_n(problem, data_key, data_sets, sizes)
    far = fixed_design_statistics(problem, design_key, data_sets, far_sizes)
    noise = np.asarray(jax.random.normal(design_key, (data_sets, len(FACTORS))), float)
    found: dict[str, list[list[Exact]]] = {}
    for truth in TRUTHS:
        products = [Block((1,) * j, c) for j, c in zip(FACTORS, targets(truth), strict=True)]
        powers = [Block((j,), c) for j, c in zip(FACTORS, targets(truth), strict=True)]
        one_dimensional = [factorised_moments(products, n, noise) for n in far_sizes]
        orthonormal = [orthonormal_statistics(n, noise) for n in far_sizes]
        routes = {
            "free_energy": [oracle.log_evidence(of_truth(s, truth)).scaled(-1) for s in near],
            "designed": [oracle.log_evidence(of_truth(s, truth)).scaled(-1) for s in far],
            "product": [expected_free_energy(products, n) for n in far_sizes],
            "power": [expected_free_energy(powers, n) for n in far_sizes],
            "route": [
                oracle.log_evidence(of_truth(s, truth))
                .scaled(-1)
                .minus(moments.normalised_free_energy)
                for s, moments in zip(orthonormal, one_dimensional, strict=True)
            ],
        }
        for name, exact in routes.items():
            found.setdefault(name, []).append(exact)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name, rows in found.items():
        size = "n" if name == "free_energy" else "far_n"
        for suffix, part in (("", 0), ("_error", 1)):
            values = np.stack([np.stack([exact[part] for exact in row]) for row in rows])
            axes = ("truth", size, "replicate")[: values.ndim]
            variables[f"{name}{suffix}"] = (axes, values)
    gap, bound = (np.abs(variables.pop(name)[1]) for name in ("route", "route_error"))
    variables["route_gap"] = (("truth", "far_n"), gap.max(axis=-1))
    variables["route_bound"] = (("truth", "far_n"), bound.max(axis=-1))
    return xr.Dataset(
        variables, coords={"truth": list(TRUTHS), "n": list(sizes), "far_n": list(far_sizes)}
    )


def of_truth(statistics: Any, truth: str) -> RegressionStatistics:
    """The statistics that the same inputs and noise have under another truth."""
    origin: Any = np.broadcast_to(np.array(targets(truth))[:, None], np.shape(statistics.optimum))
    return statistics._replace(optimum=origin)


def orthonormal_statistics(n: float, noise: np.ndarray) -> RegressionStatistics:
    """Statistics of R data sets of truth 0 with Σφφᵀ = nI, from standardised noise [R, 5]."""
    gram: Any = np.tile(n * np.eye(len(FACTORS)), (len(noise), 1, 1))
    cross: Any = math.sqrt(n) * noise[:, :, None]
    log_likelihood_at_optimum: Any = np.zeros(len(noise))
    return RegressionStatistics(gram, cross, 0 * cross, log_likelihood_at_optimum)


def local_coefficients(
    truth: str,
    key: Array,
    n: int,
    gammas: Sequence[float],
    settings: SGLDSettings,
    num_chains: int,
    step_size: float,
    far_sizes: Sequence[int],
) -> xr.Dataset:
    """λ̂(w*) at the natural parameter, all factors of the true coefficient 1 and the others 0.

    ``local`` [gamma] with its standard error ``local_se`` over chains by SGLD at ``n`` and
    β = 1/log n on one orthonormal data set, ``exact_local`` [gamma] of the same density, and
    ``far_local`` [gamma, far_n], exact without noise. ``acceptance`` [gamma] is MALA's.
    """
    problem = named_problems()[f"skalse_{truth.replace('^', '')}"]
    xi = np.asarray(jax.random.normal(key, (1, len(FACTORS))), float)
    all_statistics = of_truth(orthonormal_statistics(n, xi), truth)
    statistics = jax.tree.map(lambda leaf: leaf[0], all_statistics)
    statistics = in_precision(statistics, jnp.zeros(()).dtype)
    centre = jnp.asarray(problem.optimum["theta"], float)
    beta = 1 / math.log(n)
    rows: dict[str, list[float]] = {
        "local": [],
        "local_se": [],
        "acceptance": [],
        "exact_local": [],
    }
    far = []
    for gamma in gammas:
        blocks = [
            Block((1,) * j, c, c, 1 / math.sqrt(gamma))
            for j, c in zip(FACTORS, targets(truth), strict=True)
        ]
        run = sgld_run(
            target_of(problem.model), settings, key, statistics, beta, gamma, centre, step_size,
            jnp.tile(centre, (num_chains, 1)),
        )  # fmt: skip
        estimate = mean_over_seeds(np.asarray(run.energies, float).mean(axis=1)).scaled(beta)
        exact = factorised_moments(blocks, n, xi, beta).excess_energy
        rows["local"].append(float(estimate.value))
        rows["local_se"].append(float(estimate.standard_error))
        rows["acceptance"].append(float(jnp.mean(run.acceptance)))
        rows["exact_local"].append(beta * float(exact.value[0]))
        none = np.zeros((1, len(FACTORS)))
        far.append(
            [
                float(factorised_moments(blocks, m, none, 1 / math.log(m)).excess_energy.value[0])
                / math.log(m)
                for m in far_sizes
            ]
        )
    return xr.Dataset(
        {name: ("gamma", values) for name, values in rows.items()}
        | {"far_local": (("gamma", "far_n"), far), "local_size": n},
        coords={"gamma": list(gammas), "far_n": list(far_sizes)},
    )


def masses(
    noise: float,
    key: Array,
    radii: Sequence[float],
    nodes: int,
    nuts_settings: NUTSSettings,
    smc_settings: SMCSettings,
    num_runs: int,
) -> xr.Dataset:
    """Posterior mass near 1, x, …, x⁴ given the one datum (1, 1) and noise of that size.

    ``mass`` [route, function, radius]: exact with an error bound, sampled with a standard error
    over NUTS chains or SMC runs, ``mass_error``. ``converged`` and ``reason`` [route]. Of the
    coefficient of each function: ``density_at_one`` [function] is its prior density at 1, and
    ``density_near_zero`` [function, radius] its mean within a radius of the zero function.
    """
    model = SkalsePolynomial(noise=noise)
    problem = Problem("one_datum", model, {"theta": np.zeros(sum(FACTORS))})
    statistics = statistics_of(problem, Data(jnp.ones(1), jnp.ones((1, 1))))
    statistics = in_precision(statistics, jnp.zeros(()).dtype)
    target = target_of(model)
    nuts_key, start_key, smc_key = jax.random.split(key, 3)
    starts = jax.vmap(target.sample_prior)(jax.random.split(start_key, num_runs))
    chains = nuts_run(target, nuts_settings, nuts_key, statistics, 1.0, starts)
    traces = np.concatenate(
        [chains.energies[..., None], _coefficients(model, chains.positions)], -1
    )
    chains_judged = diagnostics.judge(
        traces,
        num_divergent=chains.num_divergent,
        thresholds=diagnostics.Thresholds(max_r_hat=MAX_R_HAT, min_ess=MIN_ESS),
    )
    runs = smc_runs(
        target,
        smc_settings,
        jax.random.split(smc_key, num_runs),
        statistics,
        jnp.ones(1),
        jnp.asarray(SMC_STEP),
    )
    population = runs.node_positions.reshape(num_runs, -1, sum(FACTORS))
    draws = {"NUTS": chains.positions, "SMC": population}
    shape = (len(METHODS), len(FUNCTIONS), len(radii))
    mass, error = np.zeros(shape), np.zeros(shape)
    g = gram()
    for f, function in enumerate(FUNCTIONS):
        centre = targets(function)
        for r, radius in enumerate(radii):
            exact = regions.mass_near(FACTORS, centre, g, radius, (1.0,) * 5, 1.0, noise, nodes)
            mass[0, f, r], error[0, f, r] = exact.value, exact.error
            for m, method in enumerate(METHODS[1:], start=1):
                inside = regions.near(_coefficients(model, draws[method]), centre, g, radius)
                estimate = mean_over_seeds(inside.mean(axis=1))
                mass[m, f, r], error[m, f, r] = estimate.value, estimate.standard_error
    reach = np.sqrt(np.diag(np.linalg.inv(g)))[::-1]
    near_zero = [
        [regions.density_near_zero(j, radius * width, len(FACTORS)) for radius in radii]
        for j, width in zip(FACTORS[::-1], reach, strict=True)
    ]
    reasons = ["", "" if chains_judged.converged else chains_judged.reason]
    reasons.append(unfinished_reason(runs, float(statistics.log_likelihood_at_optimum)))
    return xr.Dataset(
        {
            "mass": (("route", "function", "radius"), mass),
            "mass_error": (("route", "function", "radius"), error),
            "reason": ("route", reasons),
            "converged": ("route", [reason == "" for reason in reasons]),
            "density_at_one": (
                "function",
                [float(regions.density_at(j, 1.0)) for j in FACTORS[::-1]],
            ),
            "density_near_zero": (("function", "radius"), near_zero),
        },
        coords={"route": list(METHODS), "function": list(FUNCTIONS), "radius": list(radii)},
    )


def _coefficients(model: SkalsePolynomial, positions: Array) -> np.ndarray:
    """c(w) [..., 5] of flat parameters [..., 15]."""
    flat = jnp.reshape(positions, (-1, positions.shape[-1]))
    found = jax.vmap(lambda theta: model.coefficients({"theta": theta})[:, 0])(flat)
    return np.asarray(found, float).reshape(*positions.shape[:-1], len(FACTORS))


def scaled_up(
    degree: int,
    noise: float,
    ascending: bool,
    key: Array,
    points_per_degree: float,
    data_sets: int,
    num_chains: int,
    num_warmup: int,
    num_draws: int,
) -> xr.Dataset:
    """The posterior mean of Σ_i c_i xⁱ out of sample, truth x, degree/n fixed.

    c_i is a product of degree − i + 1 normal parameters, or of i + 1 if ``ascending``.
    ``prediction_error`` [replicate] is ∫(E[f] − x)² / ∫x² over U[−1, 1]: 1 for the function 0.
    ``prediction_error_se`` is its Monte-Carlo error over chains; ``converged`` [replicate] asks
    for R̂ of the log likelihood at most 1.2. At one datum ``tweedie`` compares the posterior mean
    at the datum, ``sampled_mean``, with y + σ² ∂ log p(y)/∂y, ``exact_mean``.
    """
    n = round(degree * points_per_degree)
    powers = np.arange(degree + 1)
    counts = powers if ascending else powers[::-1]
    data_key, chain_key = jax.random.split(key)
    x_key, y_key = jax.random.split(data_key)
    x = np.asarray(jax.random.uniform(x_key, (data_sets, n), minval=-1.0), float)
    y = x + noise * np.asarray(jax.random.normal(y_key, x.shape), float)
    nodes, weights = leggauss(TEST_POINTS)
    inputs = np.concatenate([nodes[:, None], x[:1, :1]])
    draws = gibbs(
        modulus_prior(counts.tolist()), x[:, :, None] ** powers, y, inputs**powers, noise,
        jax.random.split(chain_key, (data_sets, num_chains)), num_warmup, num_draws,
    )  # fmt: skip
    means = np.asarray(draws.predictions, float).mean(axis=2)
    share = weights / (weights @ nodes**2)

    def error_of(prediction: np.ndarray) -> np.ndarray:
        return (prediction[..., :-1] - nodes) ** 2 @ share

    # The error is quadratic in the mean over chains: leaving one out at a time gives its own.
    left_out = (means.sum(axis=1, keepdims=True) - means) / (num_chains - 1)
    spread = error_of(left_out).std(axis=1) * math.sqrt(num_chains - 1)
    traces = np.moveaxis(np.asarray(draws.log_likelihood, float), 0, -1)
    r_hat = diagnostics.r_hat(traces)
    found = xr.Dataset(
        {
            "prediction_error": ("replicate", error_of(means.mean(axis=1))),
            "prediction_error_se": ("replicate", spread),
            "r_hat": ("replicate", r_hat),
            "converged": ("replicate", r_hat <= NOT_MIXED),
            "points": n,
        }
    )
    if n == 1:
        sampled = mean_over_seeds(means[0, :, -1])
        found["sampled_mean"] = float(sampled.value)
        found["sampled_mean_se"] = float(sampled.standard_error)
        step = noise * 1e-3
        around = y[0, 0] + step * np.array([-1.0, 1.0])
        log_evidence = np.log(
            regions.one_datum_evidence((counts + 1).tolist(), x[0, 0] ** powers, around, noise)
        )
        found["exact_mean"] = y[0, 0] + noise**2 * float(np.diff(log_evidence)[0]) / (2 * step)
    return found


smc_runs = jit_at_first_call(tempered_smc, static_argnums=(0, 1))
nuts_run = jit_at_first_call(nuts, static_argnums=(0, 1))
sgld_run = jit_at_first_call(sgld, static_argnums=(0, 1))
