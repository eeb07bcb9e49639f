"""Ensembles of training runs in one call: optimisers, settings, data sets and seeds together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import ArrayLike

from slt_jax.curves.training import (
    DIVERGED,
    RUNNING,
    SCHEDULES,
    STOPS,
    DataSets,
    Losses,
    Run,
    RunState,
    TrainingSettings,
    fan_in_deviations,
    new_states,
    start_jobs,
    train_jobs,
)
from slt_jax.data import in_doubles
from slt_jax.inference.arguments import checked_held_out, checked_problem
from slt_jax.model import Model
from slt_jax.oracles.criteria import HeldOut
from slt_jax.run.devices import refuse_beyond_memory
from slt_jax.run.progress import Progress
from slt_jax.run.quantities import ONE, PER_DATUM, TEXT, Quantity, labelled
from slt_jax.statistics import Data
from slt_jax.validation import (
    Count,
    Size,
    check,
    check_fields,
    check_key,
    increasing,
    real_array,
    refuse_first,
    shown,
)

ONE_RUN = TrainingSettings()
RECORDED = 20
RUN_AXES = ("setting", "replicate", "seed")
COPIES_OF_A_POSITION = 10

TRAINED = {
    "setting": Quantity("settings of the optimiser", ONE),
    "seed": Quantity("seed of the initialisation and of the order of data", ONE),
    "parameter": Quantity("real coordinate of the parameters", ONE),
    "step": Quantity("steps taken", ONE),
    "position": Quantity("end of the run, in real coordinates", ONE),
    "training_loss": Quantity("loss over the training data", PER_DATUM),
    "worst_loss": Quantity("largest loss of a training datum", PER_DATUM),
    "held_out_loss": Quantity("held-out loss", PER_DATUM),
    "final_training_loss": Quantity("loss over the training data at the end", PER_DATUM),
    "final_worst_loss": Quantity("largest loss of a training datum at the end", PER_DATUM),
    "final_held_out_loss": Quantity("held-out loss at the end", PER_DATUM),
    "num_steps": Quantity("steps taken until the run stopped", ONE),
    "endpoint_step": Quantity("step at which the run was where it ends", ONE),
    "stopped_by": Quantity("rule that stopped the run", TEXT),
    "diverged": Quantity("whether the run diverged, at num_steps", ONE),
}


def train_ensemble(
    problem: Any,
    data: Data | Sequence[Data],
    settings: TrainingSettings | Sequence[TrainingSettings] = ONE_RUN,
    *,
    key: Array,
    seeds: int = 100,
    held_out: Data | HeldOut | Sequence[Data] | None = None,
    record: Sequence[int] | None = None,
    initial_positions: ArrayLike | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Train with all settings on all data sets from ``seeds`` random starts, as one program.

    ``data`` is one data set or a list, whose sizes may differ. ``settings`` is one
    ``TrainingSettings`` or a list, as ``TrainingSettings.grid`` makes. They are data of the
    program, whose cost for a step is that of the gradients of (largest batch) · (number of runs)
    data: runs of batches that differ much are cheaper in a call for each size. A run's start and
    order of data depend on (key, data set, seed) alone: runs of one seed under two settings are
    paired, and runs of different seeds are independent.

    ``held_out`` are data, or weighted points as ``quadrature_points`` makes them of the truth, the
    same for all, or a list with data for each data set. Losses are computed over all data, and
    rules of stopping looked at, at the steps that ``record`` names, by default 20 at even
    distances, at step 0 and where settings end. ``initial_positions`` [..., d] are starts, spread
    over [setting, data set, seed, d], in place of those of the settings. ``progress`` says on
    standard error how far the runs are.

    Returns dimensions (setting, replicate, seed) with ``position`` [..., parameter], the end of
    every run in the real coordinates of samplers, of which ``curves.jobs.unravelled`` makes
    parameters; losses along ``step``, NaN after the run has stopped, and the ``final_`` ones at the
    end; ``num_steps``, ``endpoint_step``, ``stopped_by`` and ``diverged``. The settings are
    coordinates. ``function_values``, ``mean_losses`` and ``pointwise_log_likelihood`` of
    ``slt_jax.curves.predictions`` say what the ends are as functions. Raises ValueError for
    arguments of a wrong type or out of range.

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["linear_3"]
    >>> data = slt.simulate(problem, jax.random.key(0), 20)
    >>> settings = slt.TrainingSettings(step_size=0.1, batch_size=20, steps=200)
    >>> runs = slt.train_ensemble(problem, data, settings, key=jax.random.key(1), seeds=8)
    >>> float(runs.position.std("seed").max()) < 1e-3  # all data in a batch: one minimum
    True
    """
    sets = data if isinstance(data, list | tuple) and not isinstance(data, Data) else [data]
    problem = checked_problem(problem, list(sets))
    if not sets:
        raise ValueError("data = []: must be Data(x, y), or a list of such")
    each = [in_doubles(problem, one, f"data[{i}]", least=1) for i, one in enumerate(sets)]
    every = _checked_settings(settings, held_out is not None)
    check_key("key", key)
    check("seeds", seeds, Count)
    check("progress", progress, bool)
    steps = _recorded(record, every)
    shape = (len(every), len(each), seeds)
    dimension = problem.model.dimension
    size = COPIES_OF_A_POSITION * np.prod(shape, dtype=float) * dimension
    refuse_beyond_memory(f"{shape} runs of {dimension} parameters", 4 * size)
    ensemble = _Ensemble(problem.model, _data_sets(problem, each, held_out), every, key, shape)
    return ensemble.trained(steps, initial_positions, progress)


def _checked_settings(settings: Any, has_held_out: bool) -> list[TrainingSettings]:
    several = isinstance(settings, list | tuple) and not isinstance(settings, TrainingSettings)
    every = list(settings) if several else [settings]
    if not every or not all(isinstance(one, TrainingSettings) for one in every):
        raise ValueError(
            f"settings = {shown(settings)}: must be TrainingSettings(...), or a list of such"
        )
    for one in every:
        check_fields(one)
        if one.patience is not None and not has_held_out:
            raise ValueError(f"patience = {one.patience}: must be None without held_out data")
        if one.schedule != "constant" and one.warmup >= one.steps:
            raise ValueError(
                f"warmup = {one.warmup}: must be < steps = {one.steps} of a {one.schedule} schedule"
            )
    return every


def _recorded(record: Any, settings: list[TrainingSettings]) -> list[int]:
    """The steps at which losses are computed, increasing from 0."""
    ends = {one.steps for one in settings}
    chosen: Any = np.linspace(0, max(ends), RECORDED + 1).round().astype(int)
    if record is not None:
        chosen = increasing("record", record, Size) if np.size(record) else ()
    return sorted({0, *(int(step) for step in chosen if step <= max(ends)), *ends})


def _data_sets(problem: Any, data: list[Data], held_out: Any) -> DataSets:
    """Stack data sets, the short ones filled up with copies, and held-out points."""
    dtype = jnp.result_type(float)
    longest = max(len(one.y) for one in data)

    def stacked(sets: list[Data], length: int) -> Data:
        return jax.tree.map(
            lambda *leaves: np.stack(
                [leaf[np.minimum(np.arange(length), len(leaf) - 1)] for leaf in leaves]
            ).astype(dtype),
            *sets,
        )

    counts = np.array([len(one.y) for one in data], np.int32)
    shared = DataSets(stacked(data, longest), counts)
    if held_out is None:
        return shared
    several = isinstance(held_out, list | tuple) and not isinstance(held_out, Data | HeldOut)
    if several and len(held_out) != len(data):
        raise ValueError(
            f"held_out: {len(held_out)} data sets; must be one for all, or one for each of "
            f"{len(data)}"
        )
    points: list[Any] = [
        checked_held_out(problem, one) for one in (held_out if several else [held_out])
    ]
    if None in points:
        raise ValueError("held_out holds None: must be data for each data set")
    filled = max(len(one.weights) for one in points)
    weights = [np.pad(one.weights, (0, filled - len(one.weights))) for one in points]
    return shared._replace(
        held_out=stacked([one.data for one in points], filled),
        weights=np.stack(weights).astype(dtype),
    )


class _Ensemble(NamedTuple):
    """Runs of all settings, data sets and seeds, whose numbers are ``shape``, as one axis."""

    model: Model
    data_sets: DataSets
    settings: list[TrainingSettings]
    key: Array
    shape: tuple[int, int, int]

    def trained(
        self, steps: list[int], initial_positions: ArrayLike | None, progress: bool
    ) -> xr.Dataset:
        """Advance all runs from one recorded step to the next, until all have stopped."""
        keys = self._keys()
        runs = self._runs(keys)
        states = new_states(self._starts(keys, initial_positions))
        largest = max(one.batch_size for one in self.settings)
        width = int(min(largest, np.max(self.data_sets.counts)))
        records: list[Losses] = []

        def advance(num_steps: int, states: RunState) -> tuple[RunState, Losses]:
            shared = (self.data_sets, np.int32(num_steps))
            return train_jobs(self.model, width, shared, runs, states)

        with Progress("training", len(steps)) if progress else nullcontext() as bar:
            for before, step in zip([0, *steps], steps, strict=False):
                start, was_running = time.perf_counter(), states.stopped == RUNNING
                states, losses = advance(step - before, states)
                records.append(
                    jax.tree.map(lambda leaf, on=was_running: np.where(on, leaf, np.nan), losses)
                )
                if bar is not None:
                    bar.advance(f"step {step}", time.perf_counter() - start)
                if np.all(states.stopped != RUNNING):
                    break
        _, final = advance(0, states)
        missing = len(steps) - len(records)
        records += [jax.tree.map(lambda leaf: leaf * np.nan, final)] * missing
        return self._dataset(steps, states, records, final)

    def _keys(self) -> Array:
        """Keys [replicate, seed] that depend on (key, data set, seed) alone."""
        over_seeds = jax.vmap(jax.random.fold_in, (None, 0))
        sets = over_seeds(self.key, jnp.arange(self.shape[1]))
        return jax.vmap(over_seeds, (0, None))(sets, jnp.arange(self.shape[2]))

    def _starts(self, keys: Array, initial_positions: ArrayLike | None) -> np.ndarray:
        dtype = jnp.result_type(float)
        count, dimension = int(np.prod(self.shape)), self.model.dimension
        if initial_positions is not None:
            given = real_array("initial_positions", initial_positions)
            refuse_first("initial_positions", given, np.isfinite(given), "they must be finite")
            full = (*self.shape, dimension)
            try:
                return np.broadcast_to(given, full).reshape(count, -1).astype(dtype)
            except ValueError:
                raise ValueError(
                    f"initial_positions have shape {given.shape}; they must spread over {full}"
                ) from None
        no_deviation = np.full(dimension, np.nan)
        fan_in = [
            fan_in_deviations(self.model) if one.initial == "fan_in" else no_deviation
            for one in self.settings
        ]
        scales = np.array([one.initial_scale for one in self.settings])
        each = self.shape[1] * self.shape[2]
        start_keys = jax.vmap(jax.vmap(lambda key: jax.random.fold_in(key, 0)))(keys)
        starts = start_jobs(
            self.model,
            np.tile(
                np.asarray(jax.random.key_data(start_keys)).reshape(each, -1), (self.shape[0], 1)
            ),
            np.repeat(np.stack(fan_in).astype(dtype), each, 0),
            np.repeat(scales.astype(dtype), each),
        )
        return np.asarray(starts)

    def _runs(self, keys: Array) -> Run:
        dtype, (settings, sets, seeds) = jnp.result_type(float), self.shape

        def words_of(key: Array) -> Array:
            return jax.random.bits(jax.random.fold_in(key, 1), (2,), jnp.uint32)

        words = np.asarray(jax.vmap(jax.vmap(words_of))(keys)).reshape(-1, 2)
        columns = {
            name: np.repeat(_numbers(name, self.settings, dtype), sets * seeds)
            for name in Run._fields
            if name not in ("words", "data_set")
        }
        data_set = np.tile(np.repeat(np.arange(sets, dtype=np.int32), seeds), settings)
        return Run(words=np.tile(words, (settings, 1)), data_set=data_set, **columns)

    def _dataset(
        self, steps: list[int], states: RunState, records: list[Losses], final: Losses
    ) -> xr.Dataset:
        def spread(values: Any) -> np.ndarray:
            array = np.asarray(values)
            return array.reshape(*self.shape, *array.shape[1:])

        has_patience = np.array([one.patience is not None for one in self.settings])
        put_back = has_patience[:, None, None] & np.isfinite(spread(states.best_loss))
        variables: dict[str, Any] = {
            "position": ((*RUN_AXES, "parameter"), spread(states.position))
        }
        for name, last in final._asdict().items():
            if name == "held_out" and self.data_sets.held_out is None:
                continue
            along = np.stack([getattr(record, name) for record in records], axis=-1)
            variables[f"{name}_loss"] = ((*RUN_AXES, "step"), spread(along))
            variables[f"final_{name}_loss"] = (RUN_AXES, spread(last))
        taken = spread(states.step)
        stopped = spread(states.stopped)
        variables |= {
            "num_steps": (RUN_AXES, taken),
            "endpoint_step": (RUN_AXES, np.where(put_back, spread(states.best_step), taken)),
            "stopped_by": (RUN_AXES, np.array(STOPS, dtype=object)[stopped]),
            "diverged": (RUN_AXES, stopped == DIVERGED),
        }
        coordinates: dict[str, Any] = {"step": steps, "n": ("replicate", self.data_sets.counts)}
        for name in TrainingSettings._fields:
            values = [getattr(one, name) for one in self.settings]
            given = [np.nan if value is None else value for value in values]
            coordinates[name] = ("setting", given)
        return labelled(xr.Dataset(variables, coordinates), TRAINED)


def _numbers(name: str, settings: list[TrainingSettings], dtype: Any) -> np.ndarray:
    """One field of ``Run`` for all settings."""
    if name == "is_adam":
        return np.array([one.optimiser == "adam" for one in settings])
    values = [getattr(one, name) for one in settings]
    if name == "schedule":
        return np.array([SCHEDULES.index(value) for value in values], np.int32)
    if name in ("batch_size", "steps", "warmup", "patience"):
        return np.array([value or 0 for value in values], np.int32)
    if name in ("decoupled", "independent_batches"):
        return np.array(values, bool)
    return np.array([-np.inf if value is None else value for value in values], dtype)
