"""The table of competing models against its parts."""

import functools
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import slt_jax as slt

PROBLEMS = slt.named_problems()
MODELS = [PROBLEMS[name] for name in ("tanh_1", "monomial_2_2", "monomial_1_1")]
SMC = slt.SMCSettings(num_chains=16, chain_length=8)


@functools.cache
def data() -> slt.Data:
    return slt.simulate(PROBLEMS["monomial_1_1"], jax.random.key(0), 30)


def table_of(problems: Any = MODELS[1:], **changes: Any) -> pd.DataFrame:
    arguments: dict[str, Any] = {"key": jax.random.key(1), "sampler": SMC}
    return slt.compare(problems, data(), **(arguments | changes))


def test_a_table_has_the_criteria_of_every_model() -> None:
    table = table_of()
    assert table["free_energy"].is_monotonic_increasing
    for name, row in table.iterrows():
        posterior = slt.exact(PROBLEMS[str(name)], data())
        for criterion in ("free_energy", "wbic", "waic", "leave_one_out_loss"):
            assert row[criterion] == float(getattr(posterior, criterion).value)
        assert row["method"] == "exact"
        assert row["reason"] == ""
    odds = table["free_energy"].iloc[0] - table["free_energy"]
    np.testing.assert_allclose(table["log_odds"], odds)
    np.testing.assert_allclose(table["probability"], np.exp(odds) / np.exp(odds).sum())
    bounds = table["free_energy_error"]
    assert table["log_odds_error"].tolist() == [0.0, bounds.sum()]


@pytest.mark.parametrize(
    ("problems", "message"),
    [
        (MODELS[:1], "must be two problems or more"),
        ([MODELS[1], MODELS[1]], "two are called monomial_2_2"),
        (["tanh_1", "tanh_2"], "problem = 'tanh_1': must be a Problem"),
        (MODELS, r"x has shape \(30, 1\); tanh_1 needs"),
    ],
)
def test_what_cannot_be_compared_is_refused(problems: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table_of(problems)
