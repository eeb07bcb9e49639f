"""The local learning coefficient of any network in one call, at one checkpoint or at several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.adapters.network_loss import (
    Checkpoints,
    NamedLoss,
    OutputLoss,
    batch_of,
    check_loss,
    checkpoints_of,
    mask_of,
)
from slt_jax.curves.local_range import Conclusion, Surroundings, around, flat_range
from slt_jax.curves.local_runs import (
    Checkpoint,
    FlatLoss,
    Pilot,
    Walk,
    Walked,
    pilot_jobs,
    walk_jobs,
)
from slt_jax.estimators import Basis, ErrorSources, Estimate, local_scan
from slt_jax.estimators.estimate import Loss, in_standard_errors
from slt_jax.run.quantities import labelled
from slt_jax.samplers.sgld import SGLDSettings
from slt_jax.samplers.underdamped import UnderdampedSettings
from slt_jax.validation import AtLeast, Count, Positive, Size, check, check_key

if TYPE_CHECKING:
    from slt_jax.report.plotting import Figure

# In units of the mean precision of the loss, and of the step of which MALA rejects 0.5 %.
RELATIVE_GAMMA = (0.001, 0.003, 0.01, 0.03, 0.1)
RELATIVE_STEP = (1.0, 2.0, 4.0)
# In units of 1/√a with the largest curvature a; a step of two such units would diverge.
UNDERDAMPED_STEP = (0.35, 0.5, 0.7)
STEP_OF_PRECISION = 0.0865  # of one; it falls with the cube root of the dimension
PARTS = ("within_chains", "discretisation", "localisation", "descent")
Dynamics = Literal["overdamped", "underdamped"]
AtLeastTwo = Annotated[int, AtLeast(2)]


@dataclass(frozen=True, eq=False, repr=False)
class LocalLearningCoefficient:
    """λ̂ of one or more checkpoints with its error, and all runs that it rests on.

    ``table`` (checkpoint) has λ̂, its error and the parts of that, the range of γ it was averaged
    over, L_n(w*), the gradient there, and what speaks against it. ``scan`` (checkpoint,
    localisation, step) has the variables of ``estimators.local_scan`` of every run and the
    ``distance`` |w − w*| (root mean square over chains) that they travelled, in units of the
    weights. Its coordinates ``gamma`` and ``step_size`` are those of each checkpoint.

    >>> import jax, numpy as np
    >>> from flax import linen
    >>> import slt_jax as slt
    >>> params = {"kernel": np.zeros((1, 1)), "bias": np.full(1, 10.0)}
    >>> data = tuple(np.random.default_rng(0).normal(size=(2, 50, 1)))
    >>> found = slt.local_learning_coefficient(
    ...     linen.Dense(1), params, data, loss="gaussian", key=jax.random.key(0)
    ... )
    >>> found.estimate.standard_error, found.reason[:16]
    (array(inf), 'w* is no minimum')
    """

    table: xr.Dataset
    scan: xr.Dataset
    is_list: bool

    @property
    def estimate(self) -> Estimate:
        """λ̂ with its standard error by source, [checkpoint] for a list and else a scalar."""
        part = self.table if self.is_list else self.table.isel(checkpoint=0)
        attrs = self.table.attrs
        return Estimate(
            value=part["local_learning_coefficient"].to_numpy(),
            standard_error=part["local_learning_coefficient_se"].to_numpy(),
            degrees_of_freedom=np.inf,
            sources=ErrorSources(**{name: part[name].to_numpy() for name in PARTS}),
            basis=Basis(attrs["n"], attrs["beta"], "w*", attrs["loss"]),
        )

    @property
    def dimension(self) -> int:
        """The number d of weights that were sampled."""
        return int(self.table.attrs["dimension"])

    @property
    def converged(self) -> bool:
        """True if nothing speaks against any of the numbers."""
        return bool(self.table["converged"].all())

    @property
    def reason(self) -> str:
        """The reasons against the numbers, checkpoint by checkpoint; empty if there are none."""
        reasons = self.table["reason"].to_numpy()
        if not self.is_list:
            return str(reasons[0])
        return "; ".join(f"checkpoint {i}: {text}" for i, text in enumerate(reasons) if text)

    def __repr__(self) -> str:
        value, error = (
            np.atleast_1d(self.estimate.value),
            np.atleast_1d(self.estimate.standard_error),
        )
        numbers = ", ".join(f"{v:.3g} ± {e:.2g}" for v, e in zip(value, error, strict=True))
        return f"{type(self).__name__}({numbers}; {'' if self.converged else 'not '}converged)"

    def summary(self) -> str:
        """Tabulate λ̂ of each checkpoint with what it rests on, and say if it converged."""
        attrs = self.table.attrs
        lines = [
            f"local learning coefficient: d = {self.dimension}, n = {attrs['n']:g}, "
            f"beta = {attrs['beta']:.3g}, {attrs['loss']} gradients",
            f"{'checkpoint':<11}{'L_n(w*)':>10}{'value':>10}{'error':>10}{'bias':>9}"
            f"{'gamma from':>12}{'to':>10}{'distance':>10}{'acceptance':>12}{'R-hat':>7}",
        ]
        for place in range(self.table.sizes["checkpoint"]):
            row = self.table.isel(checkpoint=place)
            lines.append(
                f"{place:<11}{row['loss']:>10.4g}{row['local_learning_coefficient']:>10.4g}"
                f"{row['local_learning_coefficient_se']:>10.2g}{row['discretisation']:>9.2g}"
                f"{row['gamma_low']:>12.3g}{row['gamma_high']:>10.3g}{row['distance']:>10.3g}"
                f"{row['acceptance']:>12.3f}{row['r_hat']:>7.2f}"
            )
        reasons = self.table["reason"].to_numpy()
        lines += [f"checkpoint {i} not converged: {text}" for i, text in enumerate(reasons) if text]
        lines += ["converged"] if self.converged else []
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Draw λ̂ along the checkpoints, and against γ for each step size."""
        from slt_jax.report.local_figure import local_figure  # brings matplotlib

        return local_figure(self.table, self.scan, self.is_list)


def local_learning_coefficient(
    model_or_loss: Any,
    params: Any,
    data: Any,
    *,
    key: Array,
    loss: OutputLoss | NamedLoss | None = None,
    mask: Any = None,
    beta: float | None = None,
    gamma: Sequence[float] | None = None,
    step_size: Sequence[float] | None = None,
    num_chains: int = 8,
    num_warmup: int = 1000,
    num_draws: int = 100,
    thinning: int = 20,
    batch_size: int | None = None,
    dynamics: Dynamics = "overdamped",
) -> LocalLearningCoefficient:
    """Estimate λ̂ = nβ(E[L_n(w)] − L_n(w*)) around the weights w* of a network, at β = 1/log n.

    The expectation is over exp(−nβL_n(w) − (γ/2)|w − w*|²), sampled by Langevin dynamics.
    ``model_or_loss`` is a flax linen or nnx module, with ``data`` = (inputs, targets) and ``loss``
    "cross_entropy" (logits and class numbers), "gaussian" (unit variance), or a function of
    (outputs, targets); or it is a function loss(params, batch), with ``data`` any tree of arrays
    [n, ...]. Either returns the loss of each datum in nats, shape [batch].

    ``params`` are the weights at one checkpoint or a list of those at several, which are run as one
    program: the variables of a linen module, the state of an nnx module, another such module or
    None for the module itself, or what the function takes. Of these the ones with True in ``mask``
    are sampled, a tree of the same structure or a prefix of it; d of them move, in the coordinates
    that they have, and γ acts in these. Other variables of a module stay as they are.

    No default depends on the units of the loss. The precision a of nβL_n around w* is measured with
    noise that costs half a nat; ``gamma`` is 0.001, 0.003, 0.01, 0.03 and 0.1 times a.
    ``step_size`` is 1, 2 and 4 times the one of which MALA, on all data, would reject 0.5 %: in a
    pilot run at the weakest γ, or under the strongest γ alone, if that is shorter. λ̂ at each γ is
    extrapolated to a step of zero, and the whole correction is a part of its error. It is averaged
    over a decade of γ or more in which it has one value, and what it varies by is another part.
    ``converged`` is False, with the reason, where no such range is found, where chains have not
    settled, for one step size, and where w* is no minimum: the error is infinite then.

    ``num_chains`` chains start at w*, take ``num_warmup`` steps, and are kept ``num_draws`` times
    with ``thinning`` steps between. With ``batch_size`` the gradients are of minibatches;
    energies and acceptance are of all data. With ``dynamics`` "underdamped" chains have a momentum:
    they cross a flat direction in √(a/γ) steps instead of a/γ, a being the largest curvature, and
    settle where the others do not, from some hundreds of weights on. It takes no minibatches.
    ``step_size`` is then 0.35, 0.5 and 0.7 of 1/√a, draws are means over ``thinning`` steps, the
    bias goes with the square of the step, and ``acceptance`` is one minus the share of the energy
    that is taken off for the step. Raises ValueError for arguments out of range, for a
    loss that is not one finite number per datum, and for data that are not at least 3.

    Source: Lau, Furman, Wang, Murfet & Wei, The local learning coefficient, AISTATS 2025.

    >>> import jax, numpy as np
    >>> from flax import linen
    >>> import slt_jax as slt
    >>> x, y = np.random.default_rng(0).normal(size=(2, 50, 1))
    >>> slope, intercept = np.polyfit(x[:, 0], y[:, 0], 1)
    >>> params = {"kernel": np.full((1, 1), slope), "bias": np.full(1, intercept)}
    >>> found = slt.local_learning_coefficient(
    ...     linen.Dense(1), params, (x, y), loss="gaussian", key=jax.random.key(0)
    ... )
    >>> found.converged, bool(abs(found.estimate.value - 1) < 0.2)  # d/2
    (True, True)
    """
    check_key("key", key)
    settings = _settings(num_chains, num_warmup, num_draws, thinning)
    batch, n = batch_of(model_or_loss, data)
    check("batch_size", batch_size, Annotated[int, AtLeast(1)] | None)
    if batch_size is not None and batch_size > n:
        raise ValueError(f"batch_size = {batch_size}: must be at most n = {n}")
    check("dynamics", dynamics, Dynamics)
    if batch_size is not None and dynamics == "underdamped":
        raise ValueError(f"batch_size = {batch_size}: must be None with underdamped dynamics")
    check("beta", beta, Positive | None)
    gammas, steps = _increasing("gamma", gamma), _increasing("step_size", step_size)
    checkpoints = checkpoints_of(model_or_loss, params, loss)
    check_loss(checkpoints, batch, n)
    mask = mask_of(mask, checkpoints.params[0])
    runs = _Runs(
        flat_loss=_flat_loss(checkpoints, mask),
        settings=settings._replace(batch_size=batch_size),
        num_chains=num_chains,
        batch=batch,
        sampled=np.flatnonzero(mask),
        n=n,
        beta=float(1 / np.log(n)) if beta is None else float(beta),
        is_underdamped=dynamics == "underdamped",
    )
    jobs = _checkpoint_jobs(checkpoints, jax.random.fold_in(key, 0))
    pilot = runs.pilot(jobs, gammas)
    scan = runs.scan(jobs, pilot, gammas, steps, jax.random.fold_in(key, 1))
    return _result(runs, pilot, scan, isinstance(params, list))


def _settings(num_chains: int, num_warmup: int, num_draws: int, thinning: int) -> SGLDSettings:
    check("num_chains", num_chains, AtLeastTwo)
    check("num_warmup", num_warmup, Size)
    check("num_draws", num_draws, Annotated[int, AtLeast(4)])
    check("thinning", thinning, Count)
    return SGLDSettings(num_warmup, num_draws, thinning)


def _increasing(name: str, values: Any) -> np.ndarray | None:
    """Positive numbers that increase, as an array [k], or None if none are given."""
    if values is None:
        return None
    array = np.asarray(values)
    right = array.ndim == 1 and array.size > 0 and array.dtype.kind in "iuf"
    if not (
        right and np.all(array > 0) and np.all(np.isfinite(array)) and np.all(np.diff(array) > 0)
    ):
        raise ValueError(
            f"{name} = {values}: must be positive numbers that increase, as [1.0, 10.0]"
        )
    return array.astype(float)


def _flat_loss(checkpoints: Checkpoints, mask: np.ndarray) -> FlatLoss:
    leaves, structure = jax.tree.flatten(checkpoints.params[0])
    return FlatLoss(
        checkpoints.loss, structure, tuple(leaf.shape for leaf in leaves), int(mask.sum())
    )


def _checkpoint_jobs(checkpoints: Checkpoints, key: Array) -> Checkpoint:
    """The weights as vectors [C, D], and the keys that the order of checkpoints does not change."""
    centres = [
        np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)])
        for tree in checkpoints.params
    ]
    others = jax.tree.map(lambda *leaves: np.stack(leaves), *checkpoints.others)
    keys = [jax.random.fold_in(key, place) for place in range(len(centres))]
    key_data = jax.random.key_data(jnp.stack(keys))
    return Checkpoint(jnp.asarray(np.stack(centres)), others, key_data)


@dataclass(frozen=True)
class _Runs:
    """The settings and data that all runs of a call share."""

    flat_loss: FlatLoss
    settings: SGLDSettings
    num_chains: int
    batch: Any
    sampled: np.ndarray
    n: int
    beta: float
    is_underdamped: bool

    @property
    def shared(self) -> tuple[Any, Array, Array]:
        return self.batch, jnp.asarray(self.sampled), jnp.asarray(self.beta, jnp.result_type(float))

    def pilot(self, jobs: Checkpoint, gamma: np.ndarray | None) -> Pilot:
        dtype = jnp.result_type(float)
        weakest = None if gamma is None else jnp.asarray(gamma[0], dtype)
        relative = jnp.asarray(RELATIVE_GAMMA[0], dtype)
        shared = (*self.shared, weakest)
        return pilot_jobs(
            self.flat_loss, self.settings, self.num_chains, self.is_underdamped, shared, relative,
            jobs,
        )  # fmt: skip

    def scan(
        self,
        jobs: Checkpoint,
        pilot: Pilot,
        gamma: np.ndarray | None,
        step_size: np.ndarray | None,
        key: Array,
    ) -> list[xr.Dataset]:
        """Run all γ and step sizes of all checkpoints as one batch, and tabulate each."""
        square = np.asarray(pilot.radius, float)[:, None] ** 2
        relative_gamma = np.array(RELATIVE_GAMMA) + 0 * square if gamma is None else gamma * square
        strongest = relative_gamma.max(axis=1)
        unit = np.asarray(pilot.step_size, float)
        if self.is_underdamped:
            unit, scale = 1 / np.sqrt(1 / unit**2 + strongest), np.sqrt(square)
        else:
            # What MALA would reject 0.5 % of where γ is all that there is.
            longest = STEP_OF_PRECISION * self.flat_loss.d ** (-1 / 3) / strongest
            unit, scale = np.minimum(unit, longest), square
        relative = UNDERDAMPED_STEP if self.is_underdamped else RELATIVE_STEP
        relative_step = unit[:, None] * relative if step_size is None else step_size / scale
        shape = (len(square), relative_gamma.shape[1], relative_step.shape[1])
        checkpoint, row, column = (axis.ravel() for axis in np.indices(shape))
        keys = jax.random.key_data(jax.random.split(key, len(row)))
        of_each = jax.tree.map(lambda leaf: np.asarray(leaf)[checkpoint], jobs)
        walks = Walk(
            of_each._replace(key_data=np.asarray(keys)),
            pilot.radius[checkpoint],
            relative_gamma[checkpoint, row].astype(pilot.radius.dtype),
            relative_step[checkpoint, column].astype(pilot.radius.dtype),
            pilot.positions[checkpoint],
        )
        settings: SGLDSettings | UnderdampedSettings = self.settings
        if self.is_underdamped:
            settings = UnderdampedSettings(*self.settings[:3])
        walked = walk_jobs(self.flat_loss, settings, self.shared, walks)
        walked = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), walked)
        return self._tables(walked, relative_gamma / square, relative_step * scale)

    def _tables(self, walked: Walked, gamma: np.ndarray, step_size: np.ndarray) -> list[xr.Dataset]:
        tables = []
        # The bias is linear in this power of the step.
        order = 2 if self.is_underdamped else 1
        for place in range(len(gamma)):
            table = local_scan(
                walked.energies[place], 0.0, self.n, gamma[place], step_size[place] ** order,
                walked.acceptance[place], self.beta, self.loss,
            ).assign_coords(step_size=step_size[place])  # fmt: skip
            axes = ("gamma", "step_size")
            square = walked.square_distance[place].mean(axis=-1)
            table["distance"] = (axes, np.sqrt(square))
            table["lowest_energy"] = (axes, walked.energies[place].min(axis=(-1, -2)))
            table["num_divergent"] = (axes, walked.num_divergent[place].sum(axis=-1))
            tables.append(table)
        return tables

    @property
    def loss(self) -> Loss:
        return "full" if self.settings.batch_size is None else "minibatch"


def _result(
    runs: _Runs, pilot: Pilot, scans: list[xr.Dataset], is_list: bool
) -> LocalLearningCoefficient:
    rows = []
    for place, scan in enumerate(scans):
        found = flat_range(scan)
        gradient = float(pilot.gradient_norm[place])
        noise = float(pilot.gradient_noise[place])
        used = found.pairs or tuple(np.ndindex(scan["acceptance"].shape))
        chosen = {
            name: np.array([float(scan[name][pair]) for pair in used])
            for name in ("acceptance", "r_hat", "distance", "lowest_energy")
        }
        lowest = np.min(chosen["lowest_energy"], initial=0.0, where=chosen["lowest_energy"] < 0)
        fall = runs.beta * max(float(pilot.descent[place]), -float(lowest), 0.0)
        surroundings = Surroundings(fall, float(in_standard_errors(gradient, noise)), runs.beta)
        rows.append(
            _row(around(found, surroundings), float(pilot.loss[place]), chosen)
            | {"fall": fall, "gradient": gradient, "gradient_se": noise}
        )
    columns = {name: ("checkpoint", np.array([row[name] for row in rows])) for name in rows[0]}
    attrs = {
        "n": float(runs.n), "beta": runs.beta, "dimension": runs.flat_loss.d, "loss": runs.loss,
    }  # fmt: skip
    table = labelled(xr.Dataset(columns, attrs=attrs))
    return LocalLearningCoefficient(table, labelled(_stacked(scans)), is_list)


def _row(found: Conclusion, loss: float, chosen: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        "local_learning_coefficient": found.value,
        "local_learning_coefficient_se": found.standard_error,
        **{name: getattr(found, name) for name in PARTS},
        "gamma_low": found.gamma[0],
        "gamma_high": found.gamma[1],
        "loss": loss,
        "acceptance": chosen["acceptance"].min(),
        "r_hat": chosen["r_hat"].max(),
        "distance": chosen["distance"].mean(),
        "is_minimum": found.is_minimum,
        "converged": found.reason == "",
        "reason": found.reason,
    }


def _stacked(scans: list[xr.Dataset]) -> xr.Dataset:
    """All checkpoints in one table, each with its own γ and step sizes."""
    plain = [
        scan.drop_vars(["gamma", "step_size"]).rename(gamma="localisation", step_size="step")
        for scan in scans
    ]
    return xr.concat(plain, "checkpoint").assign_coords(
        gamma=(("checkpoint", "localisation"), np.stack([scan["gamma"] for scan in scans])),
        step_size=(("checkpoint", "step"), np.stack([scan["step_size"] for scan in scans])),
    )
