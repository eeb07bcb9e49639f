"""Several data sets in one call, draws that are kept, and what comes of both."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pytest

import slt_jax as slt
from slt_jax.inference.sampled import SampledPosterior

LINEAR = slt.named_problems()["linear_3"]
N, SETS, SEEDS, CHAINS, DRAWS = 40, 3, 16, 8, 30
K = 9.5
MALA = slt.MALASettings(num_warmup=200, num_draws=DRAWS, thinning=5)
SMC = slt.SMCSettings(num_chains=16, chain_length=8)


def data_sets() -> list[slt.Data]:
    return [slt.simulate(LINEAR, jax.random.key(r), N) for r in range(SETS)]


@functools.cache
def sampled(sampler: Any) -> list[SampledPosterior]:
    return slt.sample(
        LINEAR, data_sets(), key=jax.random.key(9), sampler=sampler, seeds=SEEDS,
        num_chains=CHAINS, keep_draws=True,
    )  # fmt: skip


@pytest.mark.false_alarm(comparisons=2 * SETS * 2, standard_errors=K, degrees_of_freedom=SEEDS - 1)
@pytest.mark.parametrize(
    "sampler", [pytest.param(SMC, id="smc", marks=pytest.mark.slow), pytest.param(MALA, id="mala")]
)
def test_each_data_set_has_its_own_posterior(sampler: Any) -> None:
    exact = slt.exact(LINEAR, data_sets())
    assert len({float(one.free_energy.value) for one in exact}) == SETS
    for one, answer in zip(sampled(sampler), exact, strict=True):
        for name in ("free_energy", "wbic"):
            estimate = getattr(one, name)
            assert 0 < estimate.standard_error < 0.5
            assert abs(estimate.value - getattr(answer, name).value) < K * estimate.standard_error


@pytest.mark.parametrize(
    ("sampler", "shape"),
    [
        pytest.param(SMC, (SEEDS, SMC.num_particles), id="smc", marks=pytest.mark.slow),
        pytest.param(MALA, (SEEDS * CHAINS, DRAWS), id="mala"),
    ],
)
def test_kept_draws_have_the_energies_that_belong_to_them(sampler: Any, shape: Any) -> None:
    posterior = sampled(sampler)[1]
    draws, runs = posterior.draws["w"], posterior.batch.runs[1]
    assert draws.shape == (*shape, 3)
    residuals = np.asarray(posterior.data.y) - np.asarray(posterior.data.x) @ draws[..., None]
    energies = 0.5 * np.sum(residuals**2, axis=(-1, -2)) + N / 2 * np.log(2 * np.pi)
    assert runs.kept_energies is not None
    np.testing.assert_allclose(
        runs.kept_energies + posterior.energy_at_optimum, energies, atol=2e-3
    )


def test_arviz_takes_the_draws() -> None:
    tree = sampled(MALA)[0].to_arviz()
    assert dict(tree["posterior"]["w"].sizes) == {
        "chain": SEEDS * CHAINS,
        "draw": DRAWS,
        "w_dim_0": 3,
    }
    total = tree["log_likelihood"]["y"].sum("y_dim_0")
    np.testing.assert_allclose(-total, tree["sample_stats"]["energy"], atol=2e-3)
    kept = sampled(MALA)[0]
    runs = kept.batch.runs[0]._replace(kept_positions=None, kept_energies=None)
    batch = dataclasses.replace(kept.batch)
    vars(batch)["runs"] = [runs]
    alone = dataclasses.replace(kept, batch=batch)
    with pytest.raises(ValueError, match="keep_draws = False: must be True"):
        alone.to_arviz()


def test_data_sets_of_two_sizes_are_refused() -> None:
    longer = slt.simulate(LINEAR, jax.random.key(0), N + 1)
    with pytest.raises(ValueError, match="data: sets of 40 to 41 data; must be of one size"):
        slt.exact(LINEAR, [*data_sets(), longer])
    with pytest.raises(ValueError, match=r"data = \[\]: must be Data"):
        slt.exact(LINEAR, [])
    with pytest.raises(ValueError, match=r"data\[1\] = 3: must be Data"):
        slt.exact(LINEAR, [longer, 3])  # type: ignore[list-item]
