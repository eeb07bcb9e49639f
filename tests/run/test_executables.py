"""Executables are found again by all that their numbers depend on, and a broken file is no file."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import slt_jax as slt
from slt_jax.curves.jobs import target_of
from slt_jax.curves.posterior_runs import prior_batch
from slt_jax.models.linear import LinearRegression
from slt_jax.run import executables
from slt_jax.run.compilation import CompilationCounter
from slt_jax.run.devices import JobFunction
from slt_jax.run.executables import KEPT_VERSIONS, code_digest, identity_of, key_of
from slt_jax.samplers.smc import SMCSettings

ROWS = (np.zeros(3, np.float32),)


class Own(LinearRegression):
    """A model whose code is not the package's."""


def plain_log_likelihood(params, x, y):  # noqa: ANN001, ANN201
    return -((y - params["w"] * x) ** 2)


def key(*static: object, arrays: object = ROWS) -> str | None:
    return key_of(prior_batch, static, arrays, tuple(jax.local_devices()[:1]))


def test_a_key_changes_with_every_constant_shape_and_switch() -> None:
    model, other = LinearRegression(input_dim=2), LinearRegression(input_dim=2, prior_scale=2.0)
    keys = [key(target_of(model)), key(target_of(other)), key(target_of(model), True)]
    keys += [key(SMCSettings()), key(SMCSettings(num_tuning=4))]
    keys += [key(1, arrays=(np.zeros(shape, np.float32),)) for shape in ((3,), (4,), (3, 1))]
    keys += [key(1, arrays=(np.zeros(3),)), key(1, arrays=np.zeros(3, np.float32))]
    with jax.enable_x64(True):
        keys.append(key(1))
    with jax.default_matmul_precision("highest"):
        keys.append(key(1))
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert key(1) == key(1)


def test_code_from_elsewhere_has_no_key() -> None:
    defined = slt.define_model(plain_log_likelihood, {"w": dist.Normal()})
    with_prior = slt.Problem("wide", LinearRegression(input_dim=1), {"w": np.zeros((1, 1))})
    assert identity_of(with_prior.model) is not None
    for constant in (Own(input_dim=1), defined, plain_log_likelihood, lambda: 0, np.zeros(1)):
        assert identity_of(constant) is None
        assert key(constant) is None
    assert key(target_of(Own(input_dim=1))) is None
    assert key_of(plain_log_likelihood, (), ROWS, ()) is None


def test_every_named_problem_has_a_text_of_its_own() -> None:
    models = {problem.model for problem in slt.named_problems().values()}
    texts = {identity_of(model) for model in models}
    assert None not in texts
    assert len(texts) == len(models)


def test_a_changed_source_is_other_code(tmp_path: Path) -> None:
    digests = set()
    for text in ("a = 1", "a = 2"):
        (tmp_path / "model.py").write_text(text)
        code_digest.cache_clear()
        digests.add(code_digest(tmp_path))
    (tmp_path / "model.py").rename(tmp_path / "other.py")
    code_digest.cache_clear()
    digests.add(code_digest(tmp_path))
    assert len(digests) == 3


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """A folder of JAX's cache of compilations."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


PROBLEM = slt.named_problems()["linear_3"]
STATISTICS = slt.statistics_of(PROBLEM, slt.simulate(PROBLEM, jax.random.key(0), n=10))
JOBS = (
    np.asarray(jax.random.key_data(jax.random.split(jax.random.key(1), (1, 4)))),
    jax.tree.map(lambda leaf: np.asarray(leaf, np.float32)[None], STATISTICS),
)


def drawn() -> np.ndarray:
    """Energies by a function that has seen nothing yet."""
    jobs = JobFunction(prior_batch, num_static=1, num_shared=0)
    return np.asarray(jobs(target_of(PROBLEM.model), *JOBS)[1])


def kept_in(cache: Path) -> list[Path]:
    return list(cache.rglob("*.executable"))


def test_what_was_kept_is_not_traced_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawn()
    assert len(kept_in(cache)) == 1
    monkeypatch.setattr("slt_jax.run.devices.peak_bytes", lambda _: pytest.fail("traced again"))
    with CompilationCounter() as counter:
        assert np.array_equal(drawn(), first)
    assert counter.counts["prior_batch"] == 1  # it counts as made all the same


@pytest.mark.parametrize("damage", ["", "cut", "flipped", "from another library"])
def test_a_broken_file_is_ignored_and_written_again(damage: str, cache: Path) -> None:
    first = drawn()
    (path,) = kept_in(cache)
    whole = path.read_bytes()
    damaged = {"": b"", "cut": whole[:-9], "flipped": whole[:99] + b"?" + whole[100:]}
    foreign = b"pickled by another version"
    sealed = executables.hashlib.sha256(foreign).digest() + foreign
    path.write_bytes(damaged.get(damage, sealed))
    assert np.array_equal(drawn(), first)
    (path,) = kept_in(cache)
    assert path.read_bytes() != damaged.get(damage, sealed)
    assert (
        executables.load(path.stem.split("-")[0], "prior_batch", tuple(jax.local_devices()))
        is not None
    )


def test_what_cannot_be_kept_is_no_obstacle(cache: Path) -> None:
    (cache / executables.FOLDER).write_text("in the way")
    assert np.isfinite(drawn()).all()


def test_executables_of_old_code_go(cache: Path) -> None:
    folder = cache / executables.FOLDER
    for age in range(KEPT_VERSIONS + 1):
        (folder / str(age)).mkdir(parents=True)
        os.utime(folder / str(age), (1e9 - age, 1e9 - age))
    drawn()
    kept = {path.name for path in folder.iterdir()}
    assert kept == {code_digest(), *map(str, range(KEPT_VERSIONS - 1))}


def test_what_jax_read_from_its_own_cache_is_not_kept(cache: Path) -> None:
    class Lowered:
        def __init__(self, *events: str) -> None:
            self.events = events

        def compile(self) -> str:
            for event in self.events:
                jax.monitoring.record_event_duration_secs(event, 0.1)
            return "executable"

    assert executables.compiled(Lowered("/jax/core/compile/backend")) == ("executable", True)
    assert executables.compiled(Lowered(executables.RETRIEVAL)) == ("executable", False)
    first = drawn()
    (path,) = kept_in(cache)
    path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executables, "compiled", lambda lowered: (lowered.compile(), False))
        assert np.array_equal(drawn(), first)
    assert kept_in(cache) == []


def test_an_executable_that_does_not_run_is_removed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise jax.errors.JaxRuntimeError("NOT_FOUND: Function fusion.66 not found")

    first = drawn()
    assert len(kept_in(cache)) == 1
    monkeypatch.setattr(executables, "load", lambda *_: (broken, 1))
    assert np.array_equal(drawn(), first)
    assert kept_in(cache) == []


def test_other_code_that_makes_the_same_program_takes_over_its_executable(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = drawn()
    (old,) = kept_in(cache)
    monkeypatch.setattr(executables, "code_digest", lambda: "other")
    monkeypatch.setattr(executables, "compiled", lambda lowered: (lowered.compile(), False))
    assert np.array_equal(drawn(), first)
    (new,) = set(kept_in(cache)) - {old}
    assert new.parent.name == "other"
    assert new.read_bytes() == old.read_bytes()
