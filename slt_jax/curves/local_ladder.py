"""The local learning coefficient by a ladder of nβ, whose rule looks at the chains alone.

λ̂(nβ) = nβ E[K] under exp(−nβK − (γ/2)|w − w*|²) tends to λ as nβ grows with γ fixed. Chains climb
from a small nβ to ever larger ones, and at each of these half of them start anew at w*: one half
comes from too wide a posterior and the other from too narrow a one.
"""

import functools
import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from slt_jax.estimators.chains import mean_over_chains
from slt_jax.estimators.estimate import Estimate
from slt_jax.samplers.hmc import DIVERGENCE
from slt_jax.samplers.target import Target
from slt_jax.samplers.underdamped import STEPS_PER_REFRESHMENT, largest_precision, underdamped
from slt_jax.validation import AtLeast, Count, Positive, check, check_fields, check_key

Floats = NDArray[np.float64]

# Factor of nβ from one rung to the next, and the first nβ in units of γ.
RUNG = math.sqrt(10.0)
FIRST_BETA = 10.0
FIRST_STEP = 0.1
LARGEST_CHANGE = 1.25
# Rungs of the last one and a half decades show how λ̂ still moves with nβ.
FITTED_RUNGS = 4
RUNGS_OF_A_DECADE = 2
# Settling bends the line by more than the errors of large nets, which are tiny.
LEAST_ERROR = 0.002
MAX_GAP_Z_SCORE = 3.0
MAX_GAP = 0.01
# A line that adds more than a fifth is more guess than measurement.
MAX_BEYOND = 0.2
# A block in which a chain has more than so many times the usual energy was not followed.
LOST = 10.0
MAX_LOST = 20


class LadderRule(NamedTuple):
    """The choice of friction, step, length and last rung, from diagnostics.

    Times are in blocks of ``block``/√γ, and ``friction`` in units of √γ: a flat direction is
    crossed in 1/√γ. nβ rises in ``ramp`` blocks, ``relax`` are dropped, and batches of ``batch``
    are averaged until the standard error is ``aim`` of λ̂, or ``max_batches``. The step is such that
    its correction is ``correction`` of the energy, and at most ``stability``/√a with the largest
    curvature a. The ladder ends where the extrapolation to nβ = ∞ adds less than ``max_beyond`` of
    λ̂, and its end has moved by no more within a decade, at nβ = ``max_beta`` γ, or when the next
    rung would take more than ``max_steps`` in all.
    """

    friction: Positive = 2.0
    block: Positive = 0.5
    ramp: Count = 4
    relax: Count = 8
    batch: Count = 8
    max_batches: Count = 8
    aim: Positive = 0.005
    correction: Positive = 0.05
    stability: Positive = 1.0
    max_beyond: Positive = 0.01
    max_beta: Positive = 1e7
    max_steps: Count = 100_000


class Rung(NamedTuple):
    """λ̂ at one nβ = ``beta``, and its diagnostics.

    ``gap`` is by how much λ̂ of the chains that started at w* lies above that of the others, with
    the standard error ``gap_se``. ``correction`` is the share of the energy that was taken off for
    the step; ``steps`` were taken by each chain, and ``lost`` is how often a step was too long.
    """

    beta: float
    estimate: Estimate
    gap: float
    gap_se: float
    correction: float
    step_size: float
    steps: int
    lost: int

    @property
    def settled(self) -> bool:
        """Tell if both starts agree within 3 standard errors, or within 1 % of λ̂."""
        allowed = max(MAX_GAP_Z_SCORE * self.gap_se, MAX_GAP * abs(float(self.estimate.value)))
        return bool(abs(self.gap) <= allowed)


class Climb(NamedTuple):
    """The rungs of a ladder with its result.

    ``value`` is λ̂ at nβ = ∞ on a line in (nβ)^(−1/depth) through the last rungs. The parts of
    its standard error are ``sampling``, that of the line's end; ``beyond``, all that the line adds
    to the last rung; ``bending``, by how much its end has moved within the last decade of nβ; and
    ``settling``, half the gap of both starts where it is too large. Each chain took ``steps``, and
    ``reason`` says what speaks against the number, and is empty where nothing does.
    """

    rungs: tuple[Rung, ...]
    value: float
    sampling: float
    beyond: float
    bending: float
    settling: float
    steps: int
    reason: str

    @property
    def standard_error(self) -> float:
        """The square root of the sum of the squares of all parts."""
        parts = (self.sampling, self.beyond, self.bending, self.settling)
        return math.sqrt(sum(part**2 for part in parts))


def extrapolated(
    betas: Floats, values: Floats, errors: Floats, depth: int
) -> tuple[float, float, float]:
    """Return λ̂ at nβ = ∞, its standard error, and what the line adds to the last value.

    A line in x = (nβ)^(−1/depth) is fitted to the last four rungs with their errors: where K is a
    square of products of ``depth`` factors, volumes are series in such powers. With one rung
    nothing is known: the error is infinite.
    """
    take = slice(-FITTED_RUNGS, None)
    x, y = (betas[take] / betas[-1]) ** (-1 / depth), values[take]
    if x.size < 2:
        return float(y[-1]), math.inf, 0.0
    weights = 1 / np.maximum(errors[take], LEAST_ERROR * np.abs(y)) ** 2
    design = np.stack([np.ones_like(x), x], axis=1)
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    end, _ = covariance @ (design.T @ (weights * y))
    return float(end), float(np.sqrt(covariance[0, 0])), float(end - y[-1])


@functools.partial(jax.jit, static_argnums=0)
def _moved(target: Target, *arguments: Any) -> Any:
    return underdamped(target, *arguments)


@functools.partial(jax.jit, static_argnums=0)
def _stiffest(target: Target, *arguments: Any) -> Any:
    a, vectors = largest_precision(target, *arguments)
    return jnp.max(a), vectors


class _Chains:
    """Chains on their way up: where they are, the step, and the key of the next block."""

    def __init__(
        self, target: Target, data: Any, centre: Array, gamma: float, key: Array, num_chains: int,
        rule: LadderRule,
    ) -> None:  # fmt: skip
        self.target, self.data, self.centre = target, data, jnp.asarray(centre)
        self.gamma, self.rule = gamma, rule
        momentum_key, vector_key, self.key = jax.random.split(key, 3)
        shape = (num_chains, *self.centre.shape)
        self.positions = jnp.broadcast_to(self.centre, shape)
        self.momenta = jax.random.normal(momentum_key, shape)
        self.vectors = jax.random.normal(vector_key, shape)
        self.from_centre = np.arange(num_chains) < num_chains // 2
        self.step = FIRST_STEP / math.sqrt(FIRST_BETA * gamma)
        self.longest = math.inf
        self.blocks = self.taken = self.lost = 0

    def start_anew(self) -> None:
        """Put half of the chains back to w*."""
        self.positions = jnp.where(self.from_centre[:, None], self.centre, self.positions)

    def tune(self, beta: float) -> None:
        """Shorten the step where the density is too steep for it."""
        stiffest, self.vectors = _stiffest(
            self.target, self.data, beta, self.gamma, self.centre, self.positions, self.vectors
        )
        self.step = min(self.step, self.rule.stability / math.sqrt(float(stiffest)))

    def follow(self, energy: Floats, taken_off: Floats) -> None:
        """Change the step towards the one whose correction is the wanted share of the energy."""
        share = float(taken_off.mean() / max((energy + taken_off).mean(), 1e-30))
        change = math.sqrt(self.rule.correction / max(share, 1e-6))
        change = min(max(change, 1 / LARGEST_CHANGE), LARGEST_CHANGE)
        self.step = min(self.step * change, self.longest)

    def move(self, beta: float) -> tuple[Floats, Floats] | None:
        """Move for one block; returns energies [chain] and what was taken off.

        If a chain is lost, all go back to where the block began, with other momenta and half the
        step, and None is returned.
        """
        rule = self.rule
        time_of_refreshment = self.step * STEPS_PER_REFRESHMENT
        wanted = round(rule.block / math.sqrt(self.gamma) / time_of_refreshment)
        count = min(max(1, wanted), -(-rule.max_steps // STEPS_PER_REFRESHMENT))
        key = jax.random.fold_in(self.key, self.blocks)
        moving, found = _moved(
            self.target, self.data, key, beta, self.gamma, self.centre, self.step,
            rule.friction * math.sqrt(self.gamma), count, self.positions, self.momenta,
        )  # fmt: skip
        self.blocks, self.taken = self.blocks + 1, self.taken + count * STEPS_PER_REFRESHMENT
        energy, off = np.asarray(found.energy, float), np.asarray(found.correction, float)
        usual = float(np.median(np.where(np.isfinite(energy), energy, np.inf)))
        # Written so that NaN fails.
        if not np.all(energy <= LOST * max(usual, 0.0) + DIVERGENCE):
            self.step /= 2
            self.longest = self.step
            self.lost += 1
            self.momenta = jax.random.normal(jax.random.fold_in(key, 1), self.momenta.shape)
            return None
        self.positions, self.momenta = moving.positions, moving.momenta
        return energy, off

    @property
    def gone(self) -> bool:
        """Tell if chains were lost too often to go on, or have no steps left."""
        return self.lost > MAX_LOST or self.taken > self.rule.max_steps


def _measured(chains: _Chains, beta: float) -> tuple[Floats, Floats] | None:
    """Average energies [chain, block] until the error is small enough; None if a chain is lost."""
    rule = chains.rule
    energies: list[Floats] = []
    taken_off: list[Floats] = []
    for _ in range(rule.max_batches):
        for _ in range(rule.batch):
            moved = chains.move(beta)
            if moved is None or chains.gone:
                return None
            energies.append(moved[0])
            taken_off.append(moved[1])
        values = np.stack(energies, axis=1)
        estimate = mean_over_chains(values)
        if float(estimate.standard_error) <= rule.aim * abs(float(estimate.value)):
            break
    return values, np.stack(taken_off, axis=1)


def _rung(chains: _Chains, before: float, beta: float) -> Rung:
    """Climb from one nβ to the next and measure λ̂ there."""
    rule, taken, lost = chains.rule, chains.taken, chains.lost
    for block in range(rule.ramp + rule.relax):
        now = before * (beta / before) ** min((block + 1) / rule.ramp, 1.0)
        if block < rule.ramp:
            shorter = (beta / before) ** (-0.5 / rule.ramp)
            chains.step, chains.longest = shorter * chains.step, shorter * chains.longest
        chains.tune(now)
        moved = None if chains.gone else chains.move(now)
        if moved is not None:
            chains.follow(*moved)
    chains.tune(beta)
    measured = None
    while measured is None and not chains.gone:
        # What came before a loss was of another step.
        measured = _measured(chains, beta)
    if measured is None:
        nan = Estimate(np.asarray(np.nan), np.asarray(np.nan), 1.0)
        steps = chains.taken - taken
        return Rung(beta, nan, np.nan, np.nan, np.nan, chains.step, steps, chains.lost - lost)
    values, taken_off = measured
    halves = [mean_over_chains(values[side]) for side in (chains.from_centre, ~chains.from_centre)]
    return Rung(
        beta=beta,
        estimate=mean_over_chains(values),
        gap=float(halves[0].value - halves[1].value),
        gap_se=float(np.hypot(halves[0].standard_error, halves[1].standard_error)),
        correction=float(taken_off.mean() / (values + taken_off).mean()),
        step_size=chains.step,
        steps=chains.taken - taken,
        lost=chains.lost - lost,
    )


def climb(
    target: Target,
    data: Any,
    centre: Array,
    gamma: float,
    key: Array,
    *,
    num_chains: int,
    depth: int,
    rule: LadderRule = LadderRule(),  # noqa: B008 (immutable)
) -> Climb:
    """Estimate λ of a loss K around w* = ``centre`` [d] by a ladder of nβ with its own rule.

    The log-likelihood of ``target`` on ``data`` is −K in nats per datum; its prior is not used. γ
    stays what it is: as nβ → ∞ all of its reach counts, so that λ is that of w* if no point near it
    has a smaller one. Half of the ``num_chains`` start anew at w* at every nβ. ``depth`` is the
    number of factors in the products whose squares K is made of, 1 of a quadratic form, which says
    how λ̂(nβ) tends to its limit.

    Everything is sampled in JAX's default float type. Raises ValueError for arguments out of range.
    """
    check_key("key", key)
    check_fields(rule)
    for name, value, declared in (
        ("gamma", gamma, Positive), ("num_chains", num_chains, Annotated[int, AtLeast(2)]),
        ("depth", depth, Count),
    ):  # fmt: skip
        check(name, value, declared)
    chains = _Chains(target, data, centre, gamma, key, num_chains, rule)
    rungs: list[Rung] = []
    beta, before = FIRST_BETA * gamma, FIRST_BETA * gamma / RUNG
    while True:
        chains.start_anew()
        rung = _rung(chains, before, beta)
        # A rung that was given up says nothing, but that its nβ was too far.
        if rungs and not np.isfinite(rung.estimate.value):
            return _concluded(tuple(rungs), depth, chains.taken)
        rungs.append(rung)
        found = _concluded(tuple(rungs), depth, chains.taken)
        still = max(found.beyond, found.bending) <= rule.max_beyond * abs(found.value)
        is_last = RUNG * beta > rule.max_beta * gamma
        # The steps of a rung grow as the root of nβ.
        is_dear = chains.taken + RUNG**0.5 * rung.steps > rule.max_steps
        if (still and not found.reason) or is_last or is_dear or not np.isfinite(found.value):
            return found
        before, beta = beta, RUNG * beta


def _concluded(rungs: tuple[Rung, ...], depth: int, steps: int) -> Climb:
    """Extrapolate the rungs, and say what speaks against the result."""
    last = rungs[-1]
    betas, values, errors = (
        np.array(column)
        for column in zip(
            *((r.beta, float(r.estimate.value), float(r.estimate.standard_error)) for r in rungs),
            strict=True,
        )
    )
    value, error, beyond = extrapolated(betas, values, errors, depth)
    earlier = slice(None, -RUNGS_OF_A_DECADE)
    bending = 0.0
    if len(rungs) > RUNGS_OF_A_DECADE + 1:
        bending = abs(
            value - extrapolated(betas[earlier], values[earlier], errors[earlier], depth)[0]
        )
    settling = 0.0 if last.settled else abs(last.gap) / 2
    reason = ""
    if not np.isfinite(value):
        reason = "chains diverged"
    elif len(rungs) < FITTED_RUNGS:
        reason = f"{len(rungs)} nβ, and {FITTED_RUNGS} are needed to see how λ̂ moves with them"
    elif not last.settled:
        reason = f"chains from both sides differ by {last.gap:.3g} ± {last.gap_se:.2g}"
    elif max(abs(beyond), bending) > MAX_BEYOND * abs(value):
        reason = f"λ̂ still moves with nβ: {beyond:+.3g} of {value:.3g} lie beyond the last"
    return Climb(rungs, value, error, abs(beyond), bending, settling, steps, reason)
