"""Saved posteriors come back with their numbers, and go on from the same key."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import slt_jax as slt
from slt_jax.inference.posterior import UNITS
from slt_jax.inference.sampled import SampledPosterior

PROBLEMS = slt.named_problems()
LINEAR = PROBLEMS["linear_3"]
SETTINGS = slt.SMCSettings(num_chains=8, chain_length=4)


@functools.cache
def data() -> slt.Data:
    return slt.simulate(LINEAR, jax.random.key(0), 30)


def sampled() -> SampledPosterior:
    return slt.sample(
        LINEAR, data(), key=jax.random.key(1), sampler=SETTINGS, seeds=2, held_out=data(),
        keep_draws=True,
    )  # fmt: skip


def same(one: Any, other: Any) -> bool:
    return bool(jax.tree.all(jax.tree.map(np.array_equal, one, other)))


def test_a_sampled_posterior_comes_back(tmp_path: Path) -> None:
    posterior, path = sampled(), tmp_path / "posterior.nc"
    before = posterior.wbic
    slt.save_posterior(posterior, path)
    loaded = slt.load_posterior(path)
    assert isinstance(loaded, SampledPosterior)
    assert set(vars(loaded.batch)) >= {"runs", "at_wbic"}
    assert "free_energies" not in vars(loaded.batch)  # SMC has the evidence itself
    assert same(before, loaded.wbic)
    for name in UNITS:
        assert same(getattr(posterior, name), getattr(loaded, name)), name
    assert loaded.summary() == posterior.summary()
    assert same(dict(posterior.draws), dict(loaded.draws))


def test_an_exact_posterior_comes_back(tmp_path: Path) -> None:
    posterior = slt.exact(LINEAR, data(), 0.5)
    slt.save_posterior(posterior, tmp_path / "posterior.nc")
    loaded = slt.load_posterior(tmp_path / "posterior.nc", LINEAR)
    assert same(posterior.free_energy, loaded.free_energy)


def test_what_cannot_be_saved_or_loaded_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "posterior.nc"
    with_schedule = sampled()
    settings = slt.SGLDSettings(schedule=lambda step: 1.0)
    sampling = with_schedule.batch.sampling._replace(sampler=settings)
    object.__setattr__(with_schedule.batch, "sampling", sampling)
    with pytest.raises(ValueError, match="a function cannot be saved"):
        slt.save_posterior(with_schedule, path)
    assert not path.exists()
    slt.save_posterior(slt.exact(LINEAR, data()), path)
    wider = slt.Problem("linear_3", LINEAR.model, {"w": np.ones(3)})
    with pytest.raises(ValueError, match="must be the problem that was saved"):
        slt.load_posterior(path, wider)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        slt.load_posterior(tmp_path / "absent.nc")


def test_figures_of_posteriors() -> None:
    assert [axis.get_title() for axis in sampled().plot().axes][:2] == ["energy", "parameter"]
    relu = PROBLEMS["monomial_1_1"]
    exact = slt.exact(relu, slt.simulate(relu, jax.random.key(0), 20))
    assert [axis.get_title() for axis in exact.plot().axes] == ["energy", "predictions"]
