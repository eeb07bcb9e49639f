"""Data of any real type and container are the same data; what a model does not have is refused."""

import jax
import ml_dtypes
import numpy as np
import pandas as pd
import pytest

import slt_jax as slt
from slt_jax import Data

PROBLEMS = slt.named_problems()
LINEAR = PROBLEMS["linear_3"]
KEY = jax.random.key(0)
ORACLE = slt.oracle_for(LINEAR)


def converted(kind, array):
    if kind == "list":
        return array.tolist()
    if kind == "frame":
        return pd.DataFrame(array) if array.ndim == 2 else pd.Series(array)
    if kind == "mixed_frame":
        return pd.DataFrame({i: column.astype(object) for i, column in enumerate(array.T)})
    if kind == "view":
        wide = np.zeros((*array.shape[::-1], 2))
        wide[..., 0] = array.T
        return wide[..., 0].T
    return array.astype(kind)


KINDS = ["list", "frame", "mixed_frame", "view", "float16", "float32", "longdouble", "int8"]
KINDS += ["int32", "int64", "uint64", "bool", ml_dtypes.bfloat16]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_data_of_any_real_kind_are_the_same_data(kind):
    """Return data of zeros and ones, which all kinds hold."""
    rng = np.random.default_rng(0)
    data = Data(rng.integers(0, 2, (6, 3)).astype(float), rng.integers(0, 2, (6, 1)).astype(float))
    other = Data(*(converted(kind, part) for part in data))
    right, same = slt.statistics_of(LINEAR, data), slt.statistics_of(LINEAR, other)
    jax.tree.map(np.testing.assert_array_equal, same, right)
    assert ORACLE.moments(same) == ORACLE.moments(right)
    assert slt.wbic(ORACLE, other) == slt.wbic(ORACLE, data)


def test_data_are_not_changed_behind_ones_back():
    x, y = np.ones((6, 3)), np.ones((6, 1))
    posterior = slt.exact(LINEAR, Data(x, y))
    x[:] = 7.0
    assert np.all(posterior.data.x == 1.0)


@pytest.mark.parametrize(
    ("name", "part", "value", "words"),
    [
        ("tanh_2", "x", 1.5, r"^x\[0\] is 1.5; allowed: "),
        ("boolean_parity", "y", 2.0, r"^y\[0\] is 2.0; allowed: "),
        ("boolean_parity", "y", 0.5, r"^y\[0\] is 0.5; allowed: "),
        ("boolean_parity", "x", 0.0, r"^x\[0, 0\] is 0.0; allowed: "),
    ],
)
def test_labels_and_inputs_that_a_model_does_not_have_are_refused(name, part, value, words):
    problem = PROBLEMS[name]
    data = slt.simulate(problem, KEY, 4)
    spoilt = data._replace(**{part: np.full_like(np.asarray(getattr(data, part)), value)})
    with pytest.raises(ValueError, match=words):
        slt.statistics_of(problem, spoilt)
