"""The study: nets of the rule, nets that it is judged on, an oracle's, a bias, and digits."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import xarray as xr

from slt_jax.curves.local_ladder import Climb, LadderRule, climb
from slt_jax.run.sweep import Task

from . import Config
from .bias import exact_coefficient, step_bias
from .digits import along_training
from .nets import Net, random_net, target_of

# Streams of random nets.
HELD_OUT, LARGE, TUNING = 1, 2, 3
# Two layers with m = 1, and three with m = 3, both with the truth zero.
SOLVED = (Net((2, 3, 3), ()), Net((2, 2, 2, 2), ()))
# Variables of a net that are kept of each tuning net and γ.
TUNED = (
    "estimate", "estimate_se", "sampling", "beyond", "bending", "settling", "log_term", "converged",
)  # fmt: skip


def tasks(config: Config) -> list[Task]:
    """List all work, in one group: the seconds that nets take are then their own."""
    do = functools.partial
    key = jax.random.key(config.seed)
    bias_key, digit_key, oracle_key, net_key = jax.random.split(key, 4)
    bias = do(step_bias, bias_key, config.step_shares, config.bias_chains, config.bias_draws)
    work = [Task("bias", bias), Task("digits", do(along_training, config, digit_key))]
    for i, net in enumerate(SOLVED[: config.solved_nets]):
        compute = do(on_solved, jax.random.fold_in(oracle_key, i), net, config.oracle_steps)
        work.append(Task(f"oracle.{i}", compute))
    for name, stream, sizes, gigaflops in (
        ("tuning", TUNING, config.tuning_sizes, config.tuning_gigaflops),
        ("held_out", HELD_OUT, config.held_out_sizes, config.gigaflops),
        ("large", LARGE, config.large_sizes, config.large_gigaflops),
    ):
        scanned = config.localisations if stream == TUNING else (config.localisation,)
        for i, size in enumerate(sizes):
            net = random_net((config.seed, stream, i), size)
            each = jax.random.fold_in(jax.random.fold_in(net_key, stream), i)
            work += [
                Task(
                    f"{name}.{i:03d}" + (f".{j}" if stream == TUNING else ""),
                    do(on_net, jax.random.fold_in(each, j), net, factor, gigaflops),
                )
                for j, factor in enumerate(scanned)
            ]
    return work


def on_net(key: jax.Array, net: Net, factor: float, gigaflops: float) -> xr.Dataset:
    """Estimate λ of a net by the rule with γ = ``factor`` times its largest width."""
    steps = max(1, int(gigaflops * 1e9 / net.work))
    gamma = factor * max(net.widths)
    found = climb(
        target_of(net.widths), net.truth(), net.centre(), gamma, key,
        num_chains=net.num_chains, depth=net.depth, rule=LadderRule(max_steps=steps),
    )  # fmt: skip
    return summarised(net, found)


def summarised(net: Net, found: Climb) -> xr.Dataset:
    """Tabulate the result of a net without axes; the last rung has ``last_…`` numbers.

    The error of ``estimate`` has one part beside those of the ladder: ``log_term``, what logarithms
    can still hide, at most ⌊L²/4⌋/log nβ since m − 1 ≤ ⌊L²/4⌋ whatever the truth.
    """
    last = found.rungs[-1]
    log_term = (net.depth**2 // 4) / math.log(last.beta)
    values = {
        "estimate": found.value,
        "estimate_se": math.hypot(found.standard_error, log_term),
        "sampling": found.sampling,
        "beyond": found.beyond,
        "bending": found.bending,
        "settling": found.settling,
        "log_term": log_term,
        "last_estimate": float(last.estimate.value),
        "last_estimate_se": float(last.estimate.standard_error),
        "last_beta": last.beta,
        "start_gap": last.gap / last.gap_se,
        "step_correction": last.correction,
        "num_rungs": len(found.rungs),
        "steps": found.steps,
        "work": found.steps * net.work / 1e9,
        "num_chains": net.num_chains,
        "converged": found.reason == "",
        "reason": found.reason,
    }
    return xr.Dataset(values)


def on_solved(key: jax.Array, net: Net, steps: int) -> xr.Dataset:
    """Hold λ̂(nβ) of every rung to the oracle at the same nβ, [rung].

    γ is 1 and w* is 0, which makes the localisation the model's own prior. The ladder goes on for
    ``steps``, whatever it finds.
    """
    rule = LadderRule(max_steps=steps, max_beyond=1e-9, aim=0.002)
    found = climb(
        target_of(net.widths), net.truth(), net.centre(), 1.0, key,
        num_chains=net.num_chains, depth=net.depth, rule=rule,
    )  # fmt: skip
    exact = [exact_coefficient(net, rung.beta) for rung in found.rungs]
    return xr.Dataset(
        {
            "solved_estimate": ("beta", [float(rung.estimate.value) for rung in found.rungs]),
            "solved_estimate_se": (
                "beta", [float(rung.estimate.standard_error) for rung in found.rungs],
            ),
            "solved_exact": ("beta", [float(each.value) for each in exact]),
            "solved_exact_error": ("beta", [float(each.error) for each in exact]),
            "solved_settled": ("beta", [rung.settled for rung in found.rungs]),
        },
        coords={"beta": [rung.beta for rung in found.rungs]},
    )  # fmt: skip


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Make one labelled dataset of all results.

    It holds what ``summarised`` makes, with the exact λ, [net] of held-out nets and ``large_…``
    [large_net], ``tuning_…`` [tuning_net, localisation_factor]; ``on_solved`` [solved, beta];
    ``step_bias`` [scheme, step_share]; ``along_training`` [checkpoint].
    """
    parts: list[xr.Dataset] = [results["bias"].drop_attrs(), results["digits"].drop_attrs()]
    for name, stream, sizes, axis, prefix in (
        ("held_out", HELD_OUT, config.held_out_sizes, "net", ""),
        ("large", LARGE, config.large_sizes, "large_net", "large_"),
    ):
        nets = [random_net((config.seed, stream, i), size) for i, size in enumerate(sizes)]
        found = [results[f"{name}.{i:03d}"] for i in range(len(nets))]
        joined = xr.concat([each.drop_attrs() for each in found], dim=axis)
        joined = joined.assign({"wall": (axis, [each.attrs["wall_seconds"] for each in found])})
        joined = joined.assign({key: (axis, list(values)) for key, values in known(nets).items()})
        joined = joined.rename({key: f"{prefix}{key}" for key in joined.data_vars})
        parts.append(joined.assign_coords({axis: [net.label for net in nets]}))
    tuned = [
        xr.concat(
            [results[f"tuning.{i:03d}.{j}"].drop_attrs() for j in range(len(config.localisations))],
            dim=xr.Variable("localisation_factor", list(config.localisations)),
        )
        for i in range(len(config.tuning_sizes))
    ]
    nets = [
        random_net((config.seed, TUNING, i), size) for i, size in enumerate(config.tuning_sizes)
    ]
    labels = xr.Variable("tuning_net", [net.label for net in nets])
    scan = xr.concat(tuned, dim=labels)[list(TUNED)]
    parts.append(scan.rename({name: f"tuning_{name}" for name in TUNED}))
    known_nets = SOLVED[: config.solved_nets]
    solved = [results[f"oracle.{i}"].drop_attrs() for i in range(len(known_nets))]
    solved_axis = xr.Variable("solved", [net.label for net in known_nets])
    oracle = xr.concat(solved, dim=solved_axis, join="outer", fill_value={"solved_settled": False})
    limits = [float(net.theory.learning_coefficient) for net in known_nets]
    oracle = oracle.assign(solved_limit=("solved", limits))
    own = xr.Dataset({"chosen_localisation": config.localisation})
    return xr.merge([*parts, oracle, own], join="outer")


def known(nets: list[Net]) -> dict[str, list[Any]]:
    """Return what is known of nets: λ, m, the number of parameters, layers and the rank."""
    theories = [net.theory for net in nets]
    return {
        "exact_estimate": [float(each.learning_coefficient) for each in theories],
        "true_multiplicity": [each.multiplicity for each in theories],
        "dimension": [net.dimension for net in nets],
        "depth": [net.depth for net in nets],
        "rank": [net.rank for net in nets],
    }
