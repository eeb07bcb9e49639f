"""Runs in the forms that other tools read: ArviZ's groups, and tidy tables of pandas."""

from __future__ import annotations

import collections
import importlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from slt_jax.estimators import Estimate

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

SAMPLE_AXES = ("chain", "draw")


def draws_tree(
    posterior: Mapping[str, ArrayLike],
    log_likelihood: ArrayLike | None = None,
    sample_stats: Mapping[str, ArrayLike] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Arrange a run in the groups that ArviZ 1 reads: ``posterior``, ``log_likelihood``, …

    Every array is [chain, draw, ...]; further axes of a variable x are called x_dim_0, x_dim_1, …
    ``log_likelihood`` [chain, draw, datum] is ℓ_i(w), or ℓ_i(w) − ℓ_i(w₀), and its variable is
    called y. ``sample_stats`` are energies and the like. Raises ValueError where the first two
    axes differ or a log-likelihood has not three.
    """
    import xarray as xr

    groups: dict[str, Mapping[str, ArrayLike]] = {"posterior": posterior}
    if sample_stats is not None:
        groups["sample_stats"] = sample_stats
    if log_likelihood is not None:
        if np.ndim(log_likelihood) != 3:
            raise ValueError(
                f"log_likelihood has shape {np.shape(log_likelihood)}; allowed is "
                "[chain, draw, datum]"
            )
        groups["log_likelihood"] = {"y": log_likelihood}
    shapes = {np.shape(array)[:2] for group in groups.values() for array in group.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f"arrays start with the axes {sorted(shapes)}; allowed is [chain, draw]")
    tree = xr.DataTree.from_dict({name: _dataset(group) for name, group in groups.items()})
    tree.attrs = dict(attrs or {})
    return tree


def to_arviz(tree: xr.DataTree) -> Any:
    """Convert a run to what the installed ArviZ takes.

    That is an ``InferenceData`` before its version 1, and the tree itself from then on.
    Raises ImportError, in one line, where ArviZ is not installed.
    """
    try:
        arviz = importlib.import_module("arviz")
    except ModuleNotFoundError as error:
        raise ImportError("ArviZ is not installed; pip install 'slt_jax[arviz]' adds it") from error
    if int(arviz.__version__.split(".")[0]) >= 1:
        return tree
    groups = {name: child.to_dataset() for name, child in tree.children.items()}
    return arviz.InferenceData(**groups, attrs=tree.attrs)


def tidy_table(dataset: xr.Dataset, rows: Sequence[str] | None = None) -> pd.DataFrame:
    """Tabulate a dataset: one row per combination of the ``rows`` dimensions, numbers as columns.

    Without ``rows`` they are those of draws, (chain, draw), or else the dimensions that the most
    variables have. They come first, as columns: their labels, or positions where they have none. A
    variable that lacks some of them is repeated along these, and one with further dimensions
    becomes the columns x[0], x[1], … or x[0, 0], … by position. Variables that share no dimension
    with the rows would be the same in each and are left out, unless they are single numbers. Raises
    ValueError for a dimension that the dataset has not.

    >>> import xarray as xr
    >>> curve = xr.Dataset({"F": ("n", [2.7, 5.0]), "d": 3}, coords={"n": [10, 100]})
    >>> tidy_table(curve)
         n    F  d
    0   10  2.7  3
    1  100  5.0  3
    """
    import pandas as pd

    rows = _common_dimensions(dataset) if rows is None else list(rows)
    if absent := [row for row in rows if row not in dataset.dims]:
        raise ValueError(
            f"rows = {list(rows)}: the dataset has no dimensions {absent}; allowed are "
            f"{list(dataset.dims)}"
        )
    sizes = {row: dataset.sizes[row] for row in rows}
    shape = tuple(sizes.values())
    places = np.indices(shape).reshape(len(shape), math.prod(shape))
    columns: dict[str, Any] = {
        row: dataset[row].to_numpy()[place] for row, place in zip(rows, places, strict=True)
    }
    for name, variable in dataset.data_vars.items():
        if variable.dims and not set(variable.dims) & set(rows):
            continue
        others = [dim for dim in variable.dims if dim not in rows]
        lacking = {row: size for row, size in sizes.items() if row not in variable.dims}
        repeated = variable.reset_coords(drop=True).expand_dims(lacking)
        values = repeated.transpose(*others, *rows).to_numpy()
        for place in np.ndindex(values.shape[: len(others)]):
            label = f"{name}[{', '.join(map(str, place))}]" if place else str(name)
            columns[label] = values[place].ravel()
    return pd.DataFrame(columns)


def _common_dimensions(dataset: xr.Dataset) -> list[str]:
    """The dimensions of draws, or else those that the most variables have, the first among equals.

    They are in the order of the first such variable.
    """
    if set(SAMPLE_AXES) <= set(dataset.dims):
        return list(SAMPLE_AXES)
    dims = [tuple(map(str, variable.dims)) for variable in dataset.data_vars.values()]
    counts = collections.Counter(frozenset(each) for each in dims if each)
    if not counts:
        return []
    ((most, _),) = counts.most_common(1)
    return list(next(each for each in dims if frozenset(each) == most))


def estimates_table(estimates: Mapping[str, Estimate], coverage: float = 0.95) -> pd.DataFrame:
    """Tabulate estimates: one row for each number, with its interval, its sources and its basis.

    Columns: ``name``, ``index`` (position in the estimate), ``value``, ``standard_error``,
    ``degrees_of_freedom``, ``low`` and ``high`` of the two-sided interval of that coverage, the
    parts of the error (NaN where they were not measured), ``n``, ``beta``, ``reference``, ``loss``.
    """
    import pandas as pd

    rows = []
    for name, estimate in estimates.items():
        half_width = estimate.half_width(coverage)
        for place in np.ndindex(np.shape(estimate.value)):
            parts = {
                part: np.nan if error is None else float(np.asarray(error)[place])
                for part, error in estimate.sources._asdict().items()
            }
            freedom = np.broadcast_to(estimate.degrees_of_freedom, np.shape(estimate.value))
            value, half = float(np.asarray(estimate.value)[place]), float(half_width[place])
            rows.append(
                {
                    "name": name,
                    "index": place,
                    "value": value,
                    "standard_error": float(np.asarray(estimate.standard_error)[place]),
                    "degrees_of_freedom": float(freedom[place]),
                    "low": value - half,
                    "high": value + half,
                    **parts,
                    "n": estimate.basis.n,
                    "beta": estimate.basis.beta,
                    "reference": estimate.basis.reference,
                    "loss": estimate.basis.loss,
                }
            )
    return pd.DataFrame(rows)


def _dataset(group: Mapping[str, ArrayLike]) -> xr.Dataset:
    """Label arrays by chain and draw, numbered from 0; further axes have names of their own."""
    import xarray as xr

    variables = {}
    for name, values in group.items():
        array = np.asarray(values)
        own = [f"{name}_dim_{axis}" for axis in range(array.ndim - 2)]
        variables[name] = ([*SAMPLE_AXES, *own], array)
    dataset = xr.Dataset(variables)
    return dataset.assign_coords({axis: np.arange(dataset.sizes[axis]) for axis in SAMPLE_AXES})
