"""Localised stochastic gradient Langevin dynamics, for thousands of chains in one program.

Every chain takes Euler steps of the Langevin diffusion and none is rejected (Welling & Teh,
ICML 2011), so that what is sampled differs from the target by an error of the order of the step:
for a Gaussian of precision a, unit preconditioning and full gradients the variance comes out as
1/(a(1 − εa/4)). With full gradients a step costs one gradient, and the energy and the acceptance
probability that MALA would have given the step are by-products of it.
"""

from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.arguments import (
    check_finite,
    check_positions,
    check_run,
    check_scalar,
    check_step_size,
)
from slt_jax.samplers.ensemble import gradients
from slt_jax.samplers.langevin import Density, LangevinDynamics, localised_density
from slt_jax.samplers.sampling import Draws, Start, by_chain, run_each_beta
from slt_jax.samplers.target import Subsampled, Target
from slt_jax.validation import (
    AtLeast,
    Below,
    Count,
    NonNegative,
    Positive,
    Size,
    check_fields,
    check_key,
    check_kind,
)

DEFAULT_STEP = 1.0
# What MALA would reject of the steps that are the unit of others. Far from where the posterior is
# rounding alone rejects more: on the way there more is allowed.
REFERENCE_REJECTION = 0.005
FIRST_REJECTION = 0.4
TUNING_ROUNDS = 40
STEPS_OF_A_ROUND = 20
# Less cannot be told from nothing in a round, and the step grows by no more than it says.
LEAST_REJECTION = 2.5e-4


class RMSProp(NamedTuple):
    """Settings of a preconditioner that learns the scale of gradients.

    It is G = 1/(damping + √V) with V ← decay · V + (1 − decay) g² and V₀ = 0. g is the gradient of
    the log density in total nats, so that G ≤ 1/``damping`` only shortens steps at the default. A G
    that keeps following the chain needs the drift ½ Σ_j ∂G/∂w_j, which Li et al. drop at the cost
    of a bias; with ``frozen`` V is learnt in the warm-up alone and then constant, which costs
    nothing but a warm-up.

    Source: Li, Chen, Carlson & Carin, Preconditioned SGLD for deep neural networks, AAAI 2016.
    """

    decay: Annotated[float, AtLeast(0), Below(1)] = 0.99
    damping: Positive = 1.0
    frozen: bool = True


class SGLDSettings(NamedTuple):
    """Settings of SGLD: shapes and options of a run; a change recompiles.

    ``num_warmup`` steps are dropped; then every ``thinning``-th is kept until there are
    ``num_draws``. ``batch_size`` data make a gradient, all of them if it is None. ``with_prior``
    multiplies the density by φ(w). ``schedule`` maps the step (0 is the first of the warm-up) to
    a positive factor of the step size, as optax schedules do; like ``Target``, keep one.
    """

    num_warmup: Size = 500
    num_draws: Count = 100
    thinning: Count = 10
    batch_size: Count | None = None
    with_prior: bool = False
    preconditioner: RMSProp | None = None
    schedule: Callable[[Array], Array | float] | None = None

    def run(
        self,
        target: Target,
        keys: Array,
        statistics: Any,
        betas: Array,
        start: Start,
        keep_positions: bool = False,
    ) -> Draws:
        """Run once for each key and β, and again with twice the step; see ``SamplerSettings.run``.

        The density is the posterior's: with the prior, and not localised. The draws of the second
        run, ``coarse_energies``, show the bias of the step. ``start.step_size`` is in units of
        ``reference_step``, 1 by default.
        """

        check_step_size(start.step_size)

        def one(key: Array, beta: Array, positions: Array) -> Draws:
            step = start.step_size
            return _with_coarse_draws(
                target, self, key, statistics, beta, positions, step, keep_positions
            )

        return run_each_beta(one, keys, betas, start.positions)


class SGLDResult(NamedTuple):
    """Draws of one run, without those of its warm-up.

    ``energies`` [chain, draw] are nL_n(w) − nL_n(w₀) of all data in total nats, and
    ``positions`` [chain, d] where the chains ended. Per chain [chain]: ``acceptance``, the mean
    over draws of the probability with which MALA on all data would have accepted the step that
    led there (a step into NaN counts as 0): far below 1 the step is too long; ``num_divergent``,
    draws that are not finite or whose last step would have lost MALA more than 1000 nats;
    ``diverged``, whether a kept energy or the last position is not finite, after which no number of
    that chain means anything. ``kept_positions`` [chain, draw, d] of all draws, None unless asked
    for.
    """

    energies: Array
    positions: Array
    acceptance: Array
    num_divergent: Array
    diverged: Array
    kept_positions: Array | None = None


def sgld(
    target: Target,
    settings: SGLDSettings,
    key: Array,
    data: Any,
    beta: Array | float,
    gamma: Array | float,
    centre: Array,
    step_size: Array | float,
    initial_positions: Array,
    keep_positions: bool = False,
) -> SGLDResult:
    """Sample exp(β · log_likelihood(w, data) − (γ/2)|w − w*|²) with one chain per position.

    A step is w ← w + (ε/2) G ∇log density(w) + √(εG) N(0, I), where ε is ``step_size`` times
    ``schedule`` and G = 1 without preconditioning. ``centre`` [d] is w*; ``initial_positions``
    has shape [chain, d]; β, γ and ε are scalars. The local learning coefficient is
    β(mean energy − energy at w*), d/2 at a regular minimum as nβ/γ → ∞.

    With ``batch_size`` every chain and step has its own minibatch, which the data draw
    (``target.Subsampled``). Everything is sampled in JAX's default float type. Under ``jit`` the
    first two arguments and the last are static; ``vmap`` over the others for many jobs. Raises
    ValueError for arguments out of range: β and γ must be ≥ 0, and ε positive.

    Source: Welling & Teh, Bayesian learning via stochastic gradient Langevin dynamics, ICML
    2011; Lau, Furman, Wang, Murfet & Wei, The local learning coefficient, AISTATS 2025.
    """
    _check(target, settings, data, centre, initial_positions)
    check_key("key", key)
    for name, value in (("beta", beta), ("gamma", gamma)):
        check_scalar(name, value, NonNegative)
    check_scalar("step_size", step_size, Positive)
    dtype = jnp.result_type(float)
    positions, centre, beta, gamma, step_size = (
        jnp.asarray(value, dtype) for value in (initial_positions, centre, beta, gamma, step_size)
    )
    noise_key, batch_key = jax.random.split(key)
    dynamics = LangevinDynamics(
        localised_density(target, settings.with_prior, beta, gamma, centre),
        settings, data, positions.shape, step_size, noise_key, batch_key,
    )  # fmt: skip
    first = dynamics.start(positions)

    def draw(states: Any, index: Array) -> tuple[Any, Any]:
        states, traces = dynamics.draw(states, index)
        return states, (traces, states[1].walk.positions if keep_positions else None)

    (_, last), ((energies, acceptance, lost), kept) = jax.lax.scan(
        draw, (first, first), jnp.arange(settings.num_draws)
    )
    finite = jnp.isfinite(energies).all(axis=0) & jnp.isfinite(last.walk.positions).all(axis=1)
    return SGLDResult(
        energies=energies.T,
        positions=last.walk.positions,
        acceptance=jnp.mean(acceptance, axis=0),
        num_divergent=jnp.sum(lost, axis=0),
        diverged=~finite,
        kept_positions=by_chain(kept),
    )


def reference_step(
    target: Target,
    settings: SGLDSettings,
    key: Array,
    data: Any,
    beta: Array | float,
    gamma: Array | float,
    centre: Array,
    initial_positions: Array,
) -> tuple[Array, Array]:
    """Tune the step of ``sgld`` so that MALA would reject 0.5 %; also returns the chains then.

    A step has the units of the square of a parameter, and how long it may be depends on the data:
    in units of this one, the same number means about the same bias whatever the units, n and β. For
    a Gaussian of precision a in three dimensions it is 0.06/a, and the variance 1.4 % too large.
    It is tuned in 40 rounds of 20 steps of the whole ensemble, as what is rejected grows with the
    power 3/2 of the step, and 40 % is allowed at first. The first round has the harmonic mean of
    the variance of the prior and the inverse square of the gradient, and chains that diverge go
    back to where their round began.

    Arguments and errors raised are those of ``sgld``; the schedule of the settings is left out.
    """
    short = settings._replace(
        num_warmup=STEPS_OF_A_ROUND // 2,
        num_draws=STEPS_OF_A_ROUND // 2,
        thinning=1,
        schedule=None,
    )
    _check(target, short, data, centre, initial_positions)
    dtype = jnp.result_type(float)
    positions = jnp.asarray(initial_positions, dtype)
    prior_key, round_key = jax.random.split(key)
    density = localised_density(target, settings.with_prior, beta, gamma, centre)
    prior = jax.vmap(target.sample_prior)(jax.random.split(prior_key, 64))
    first = _first_step(density, data, prior, positions)

    def tune(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        log_step, positions = carry
        run = sgld(
            target, short, jax.random.fold_in(round_key, index), data, beta, gamma, centre,
            jnp.exp(log_step), positions,
        )  # fmt: skip
        rejected = jnp.maximum(1 - jnp.mean(run.acceptance), LEAST_REJECTION)
        half = TUNING_ROUNDS // 2
        left = jnp.maximum(1 - index / half, 0.0)
        allowed = REFERENCE_REJECTION * (FIRST_REJECTION / REFERENCE_REJECTION) ** left
        # In the second half it settles as a mean of the rounds does.
        gain = 2 / 3 / (1 + jnp.maximum(index - half, 0))
        log_step = log_step + gain * jnp.log(allowed / rejected)
        kept = run.num_divergent == 0
        return log_step, jnp.where(kept[:, None], run.positions, positions)

    start = (jnp.log(first).astype(dtype), positions)
    log_step, positions = jax.lax.fori_loop(0, TUNING_ROUNDS, tune, start)
    return jnp.exp(log_step), positions


def _first_step(density: Density, data: Any, prior: Array, positions: Array) -> Array:
    """Return the harmonic mean of the variance of the prior and the inverse square gradient."""
    squares = jnp.mean(gradients(lambda w: density(w, data), positions) ** 2, axis=1)
    squares = jnp.median(jnp.where(jnp.isfinite(squares), squares, jnp.inf))
    return 1 / (1 / jnp.mean(jnp.var(prior, axis=0)) + squares)


def _with_coarse_draws(
    target: Target,
    settings: SGLDSettings,
    key: Array,
    data: Any,
    beta: Array,
    initial_positions: Array,
    step_size: Array | float | None,
    keep_positions: bool,
) -> Draws:
    """Draw with the step that was asked for, and energies with twice that step."""
    with_prior = settings._replace(with_prior=True)
    centre = jnp.zeros(jnp.shape(initial_positions)[-1])
    tune_key, draw_key = jax.random.split(key)
    unit, positions = reference_step(
        target, with_prior, tune_key, data, beta, 0.0, centre, initial_positions
    )
    relative = jnp.asarray(DEFAULT_STEP if step_size is None else step_size, unit.dtype)

    def walk(run_key: Array, step: Array) -> SGLDResult:
        return sgld(
            target, with_prior, run_key, data, beta, 0.0, centre, step, positions, keep_positions
        )

    steps = relative * unit * jnp.array([1.0, 2.0], unit.dtype)
    both = jax.vmap(walk)(jax.random.split(draw_key), steps)
    fine = jax.tree.map(lambda leaf: leaf[0], both)
    return Draws(
        fine.energies,
        fine.positions,
        fine.acceptance,
        fine.num_divergent,
        both.energies[1],
        kept_positions=fine.kept_positions,
    )


def _check(
    target: Target, settings: SGLDSettings, data: Any, centre: Array, initial_positions: Array
) -> None:
    dimension = check_run(settings, target, data)
    check_positions(initial_positions, dimension)
    if jnp.shape(centre) != (dimension,):
        raise ValueError(f"centre has shape {jnp.shape(centre)}; allowed is ({dimension},)")
    check_finite("centre", centre)
    if settings.batch_size is not None and not isinstance(data, Subsampled):
        raise ValueError(
            f"batch_size {settings.batch_size} with data of type {type(data).__name__}, which have "
            "no subsample(key, batch_size); allowed is None"
        )
    preconditioner = settings.preconditioner
    check_kind("preconditioner", preconditioner, (RMSProp, NoneType), "RMSProp(...) or None")
    if preconditioner is not None:
        check_fields(preconditioner)
        if preconditioner.frozen and settings.num_warmup == 0:
            raise ValueError(f"{preconditioner} with num_warmup 0: frozen must have a warm-up")
