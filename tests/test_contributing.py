"""The worked examples of CONTRIBUTING.md do what it says of them."""

import dataclasses
import importlib
import importlib.util
import itertools
import re
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy.special import logsumexp

import experiments
from slt_jax.curves.jobs import target_of
from slt_jax.data import simulate, statistics_of
from slt_jax.models import named_problems
from slt_jax.models.linear import LinearRegression
from slt_jax.oracles.oracle import oracle_for
from slt_jax.oracles.structures import Collapse
from slt_jax.samplers.sampling import draw_posterior
from slt_jax.statistics import Params
from tests.experiments.commands import command

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```", re.M | re.S)
EXAMPLES = dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8")))
MAX_LINES = 40


def module(path: str, folder: Path) -> ModuleType:
    """The example of that path as a module."""
    file = folder / Path(path).name
    file.write_text(EXAMPLES[path], "utf-8")
    name = f"example_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_is_short(path: str) -> None:
    assert len([line for line in EXAMPLES[path].splitlines() if line.strip()]) <= MAX_LINES


def test_the_model(tmp_path: Path) -> None:
    (problem,) = module("slt_jax/models/logistic.py", tmp_path).problems()
    data = simulate(problem, jax.random.key(0), 50)
    statistics = statistics_of(problem, data)
    at_optimum = float(statistics.log_likelihood_at_optimum)
    assert at_optimum == pytest.approx(-50 * np.log(2))


@pytest.mark.false_alarm(comparisons=1, standard_errors=6, degrees_of_freedom=63)
def test_the_law(tmp_path: Path) -> None:
    """The evidence is the mean over patterns of switches of that of the features that are on."""
    law = module("slt_jax/oracles/laws/switches.py", tmp_path).SwitchesLatent(3, 0.25)

    @dataclass(frozen=True, kw_only=True)
    class SpikeAndSlab(LinearRegression):
        def exact(self, optimum: Params) -> Collapse:
            return Collapse(law, 1.0)

        def basis(self, latent: Array) -> Array:
            return jnp.diag(latent)

    linear = named_problems()["linear_3"]
    problem = dataclasses.replace(linear, model=SpikeAndSlab(input_dim=3))
    statistics = statistics_of(problem, simulate(linear, jax.random.key(4), 10))
    exact = oracle_for(problem).log_evidence(statistics)
    score = statistics.cross + statistics.gram @ statistics.optimum
    terms = []
    for on in itertools.product((False, True), repeat=3):
        chosen = np.flatnonzero(on)
        precision = np.eye(len(chosen)) + statistics.gram[np.ix_(chosen, chosen)]
        gain = score[chosen, 0] @ np.linalg.solve(precision, score[chosen, 0])
        prior = 0.25 ** len(chosen) * 0.75 ** (3 - len(chosen))
        terms.append(np.log(prior) + (gain - np.linalg.slogdet(precision)[1]) / 2)
    optimum, gram = statistics.optimum[:, 0], statistics.gram
    at_optimum = optimum @ statistics.cross[:, 0] + optimum @ gram @ optimum / 2
    assert exact.value == pytest.approx(logsumexp(terms) - at_optimum, abs=1e-10)
    assert exact.error < 1e-9


def test_the_sampler(tmp_path: Path) -> None:
    """Within 6 standard errors of the mean energy, by chains."""
    settings = module("slt_jax/samplers/random_walk.py", tmp_path).RandomWalkSettings(2000, 0.3)
    problem = named_problems()["linear_3"]
    statistics = statistics_of(problem, simulate(problem, jax.random.key(1), 20))
    target = target_of(problem.model)
    start = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(2), 64))
    draws = draw_posterior(target, settings, jax.random.key(3), statistics, [1.0], start)
    means = np.asarray(draws.energies)[0, :, 500:].mean(axis=1)
    exact = oracle_for(problem).moments(statistics).excess_energy
    assert abs(means.mean() - exact.value) < 6 * means.std(ddof=1) / 8
    assert 0.2 < float(draws.acceptance.mean()) < 0.9


def test_the_theorem(tmp_path: Path) -> None:
    even_powers = module("slt_jax/theory/quartic.py", tmp_path).even_powers
    assert even_powers(2, 3).learning_coefficient == Fraction(3, 4)
    with pytest.raises(ValueError, match="exponent"):
        even_powers(0, 3)


def test_the_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "experiments" / "growth"
    folder.mkdir(parents=True)
    for path, text in EXAMPLES.items():
        if path.startswith("experiments/growth/"):
            (folder / Path(path).name).write_text(text, "utf-8")
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(folder.parent)])
    importlib.invalidate_caches()
    out = tmp_path / "out"
    finished = command("growth", "--preset", "smoke", "--out", out)
    assert finished.status == 0, finished.err
    assert "“F_n grows as (d/2) log n” (growth) holds." in finished.out
    assert {file.name for file in out.glob("growth.*")} == {
        f"growth.{kind}" for kind in ("nc", "json", "png", "svg", "pdf")
    }
    refused = command("growth", "--data-sets", 1)
    assert refused.err == "error: data_sets = 1: must be an integer ≥ 2\n"
