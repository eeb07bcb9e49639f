"""Runs of one program beside optax run by run, beside closed forms, and under every rule."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import slt_jax as slt
from slt_jax import Data, TrainingSettings
from slt_jax.curves import training
from slt_jax.curves.predictions import function_values, mean_losses, pointwise_log_likelihood
from slt_jax.curves.training import fan_in_deviations, shuffled
from slt_jax.oracles.criteria import HeldOut
from slt_jax.run.compilation import CompilationCounter
from slt_jax.run.devices import JobFunction

PROBLEMS = slt.named_problems()
LINEAR = PROBLEMS["linear_3"]
KEY = jax.random.key(3)
SIZES = (9, 12)
SETTINGS = 7  # in every call, so that all tests share one program
X, Y = (np.asarray(part) for part in slt.simulate(LINEAR, jax.random.key(0), 12))
SETS = [Data(X[:n], Y[:n]) for n in SIZES]
order_of = jax.jit(shuffled)


@functools.cache
def held_out():
    """Data for the first data set and points of the truth for the second."""
    return [SETS[0], slt.quadrature_points(LINEAR, ((3, 2), (2, 2)))]


def train(*settings, problem=LINEAR, key=KEY, **options):
    """Train with up to SETTINGS settings; others fill up the program and are left out."""
    spare = settings[-1]._replace(batch_size=12)
    every = [*settings, *[spare] * (SETTINGS - len(settings))]
    options = {"seeds": 2, "held_out": held_out()} | options
    runs = slt.train_ensemble(problem, SETS, every, key=key, **options)
    return runs.isel(setting=slice(len(settings)))


def words_of(replicate, seed):
    key = jax.random.fold_in(jax.random.fold_in(KEY, replicate), seed)
    return jax.random.bits(jax.random.fold_in(key, 1), (2,), jnp.uint32)


def batches(replicate, seed, size, steps):
    """The rows of every step, from the order of every epoch as a whole."""
    n = SIZES[replicate]
    words, rows = words_of(replicate, seed), []
    for epoch in range(-(-steps * size // n) + 1):
        order = np.asarray(order_of(np.arange(12), np.int32(n), words, np.int32(epoch)))[:n]
        rows += [order[i : i + size] for i in range(0, n, min(size, n))]
    return rows[:steps]


def by_optax(optimiser, start, replicate, size, steps, penalty=0.0):
    """Train step by step and return the end."""
    w, state = start, optimiser.init(start)
    x, y = (part.astype(np.float32) for part in SETS[replicate])
    for rows in batches(replicate, 1, size, steps):
        gradient = -x[rows].T @ (y[rows, 0] - x[rows] @ w) / len(rows) + penalty * w
        update, state = optimiser.update(gradient, state, w)
        w = w + np.asarray(update)
    return w


CASES = {
    "sgd": (TrainingSettings(batch_size=4), lambda: optax.sgd(0.1)),
    "momentum": (TrainingSettings(momentum=0.8, batch_size=5), lambda: optax.sgd(0.1, 0.8)),
    "adam": (
        TrainingSettings(optimiser="adam", first_decay=0.7, second_decay=0.9, batch_size=1),
        lambda: optax.adam(0.1, 0.7, 0.9),
    ),
    "adamw": (
        TrainingSettings(optimiser="adam", weight_decay=0.3, decoupled=True, batch_size=100),
        lambda: optax.adamw(0.1, weight_decay=0.3),
    ),
    "penalty": (TrainingSettings(weight_decay=0.3, momentum=0.5), lambda: optax.sgd(0.1, 0.5)),
    "cosine": (
        TrainingSettings(schedule="cosine", warmup=5, batch_size=3),
        lambda: optax.sgd(optax.warmup_cosine_decay_schedule(0.0, 0.1, 5, 20)),
    ),
    "linear": (
        TrainingSettings(schedule="linear", batch_size=3),
        lambda: optax.sgd(optax.linear_schedule(0.1, 0.0, 20)),
    ),
}


@pytest.fixture(scope="module")
def side_by_side():
    """One call with every case, and the compilations that it and another call took."""
    with CompilationCounter() as first:
        runs = train(*(settings._replace(steps=20) for settings, _ in CASES.values()))
    with CompilationCounter() as second:
        train(TrainingSettings(steps=7, batch_size=12), key=jax.random.key(9), record=[2, 3])
    return runs, first, second


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_that_of_optax(side_by_side, case):
    """Two optimisers, their coefficients, both ways of decay, and schedules, as data."""
    runs, *_ = side_by_side
    settings, optimiser = CASES[case]
    for replicate in (0, 1):
        run = runs.isel(setting=list(CASES).index(case), replicate=replicate, seed=1)
        start = start_of(replicate)
        penalty = 0.0 if settings.decoupled else settings.weight_decay
        end = by_optax(optimiser(), start, replicate, settings.batch_size, 20, penalty)
        np.testing.assert_allclose(run["position"], end, atol=2e-5)
        assert np.linalg.norm(end - start) > 0.1


def test_independent_batches_are_of_a_new_order_at_every_step():
    runs = train(TrainingSettings(batch_size=4, steps=20, independent_batches=True))
    for replicate, n in enumerate(SIZES):
        x, y = (part.astype(np.float32) for part in SETS[replicate])
        w = start_of(replicate)
        for step in range(20):
            order = order_of(np.arange(12), np.int32(n), words_of(replicate, 1), np.int32(step))
            rows = np.asarray(order)[:4]
            w = w + 0.1 * x[rows].T @ (y[rows, 0] - x[rows] @ w) / 4
        run = runs.isel(setting=0, replicate=replicate, seed=1)
        np.testing.assert_allclose(run["position"], w, atol=2e-5)


def start_of(replicate):
    key = jax.random.fold_in(jax.random.fold_in(KEY, replicate), 1)
    return np.asarray(LINEAR.model.sample_prior(jax.random.fold_in(key, 0))["w"])


def test_a_grid_is_one_program(side_by_side):
    _, first, second = side_by_side
    assert first.counts["train_batch"] == 1
    assert second.counts["train_batch"] == 0


def test_settings_of_a_seed_are_paired_and_runs_do_not_know_of_others(side_by_side):
    runs, *_ = side_by_side
    first_loss = runs["training_loss"].sel(step=0).to_numpy()
    np.testing.assert_array_equal(first_loss, np.tile(first_loss[:1], (len(first_loss), 1, 1)))
    assert len(np.unique(first_loss)) == 4
    alone = train(CASES["adam"][0]._replace(steps=20))
    others = runs.isel(setting=[list(CASES).index("adam")])
    np.testing.assert_array_equal(alone["position"], others["position"])


@pytest.mark.parametrize("n", [1, 2, 7, 30, 129])
def test_an_order_has_every_place_once(n):
    for epoch in range(3):
        order = order_of(np.arange(129) % n, np.int32(n), words_of(0, epoch), np.int32(epoch))
        np.testing.assert_array_equal(np.sort(order[:n]), np.arange(n))


@pytest.mark.false_alarm(comparisons=2, standard_errors=6)
def test_orders_are_random():
    """All 120 orders of five are as frequent, and neighbours of many are no nearer than others."""
    words = jax.random.bits(jax.random.key(5), (12_000, 2), jnp.uint32)
    epochs = np.arange(len(words), dtype=np.int32) % 7
    orders = jax.jit(jax.vmap(shuffled, (None, None, 0, 0)))
    of_five, of_fifty = (
        np.asarray(orders(np.arange(5), np.int32(n), words, epochs)) for n in (5, 50)
    )
    _, counts = np.unique(of_five, axis=0, return_counts=True)
    assert len(counts) == 120
    chi_square = np.sum((counts - 100) ** 2) / 100
    assert abs(chi_square - 119) < 6 * math.sqrt(2 * 119)
    gaps = np.abs(of_fifty[:, 1] - of_fifty[:, 0])
    deviation = math.sqrt((50 + 1) * (50 - 2) / 18)
    assert abs(gaps.mean() - 51 / 3) < 6 * deviation / math.sqrt(len(words))


def ridge(replicate, penalty):
    x, y = SETS[replicate]
    n = len(y)
    return np.linalg.solve(x.T @ x + n * penalty * np.eye(3), x.T @ y[:, 0])


def test_weight_decay_is_a_prior():
    """The penalty's minimum is the mode under N(0, 1/(n·weight_decay)), decoupled or not."""
    full = TrainingSettings(weight_decay=0.2, batch_size=12, steps=600)
    runs = train(
        full,
        full._replace(momentum=0.5),
        full._replace(optimiser="adam", step_size=0.3, schedule="cosine"),
        full._replace(decoupled=True),
        full._replace(momentum=0.5, decoupled=True),
        record=[],
    )
    for replicate in (0, 1):
        modes = [ridge(replicate, penalty) for penalty in (0.2, 0.2, 0.2, 0.2, 0.1)]
        ends = runs["position"].isel(replicate=replicate)
        np.testing.assert_allclose(ends, np.stack(modes)[:, None] + 0 * ends, atol=2e-4)


def test_runs_stop_by_every_rule():
    runs = train(
        TrainingSettings(steps=40),
        TrainingSettings(steps=40, stop_at_loss=1.6),
        TrainingSettings(steps=40, stop_at_worst_loss=4.0),
        TrainingSettings(steps=40, patience=2, step_size=0.4, batch_size=1),
        TrainingSettings(steps=40, step_size=50.0),
        TrainingSettings(steps=40, step_size=50.0, largest_loss=1e30),
        record=range(0, 41, 2),
    )
    rules = ["steps", "training_loss", "worst_loss", "patience", "diverged", "diverged"]
    for rule, run in zip(rules, [runs.isel(setting=i) for i in range(6)], strict=True):
        assert np.all(run["stopped_by"] == rule), (rule, run["stopped_by"].to_numpy())
        assert np.all(run["diverged"] == (rule == "diverged"))
        ended = run["step"] > run["num_steps"]
        if rule != "diverged":
            assert np.all(np.isnan(run["training_loss"]) == ended)
    assert np.all(runs["num_steps"][0] == 40)
    for i, name in ((1, "training"), (2, "worst")):
        limit = {1: 1.6, 2: 4.0}[i]
        losses = runs[f"{name}_loss"].isel(setting=i)
        assert np.all(runs[f"final_{name}_loss"].isel(setting=i) <= limit)
        assert np.all((losses > limit).sum("step") * 2 == runs["num_steps"].isel(setting=i))
    patient = runs.isel(setting=3)
    best = patient["held_out_loss"].min("step")
    np.testing.assert_allclose(patient["final_held_out_loss"], best, rtol=1e-5)
    assert np.all(patient["num_steps"] == patient["endpoint_step"] + 4)
    early, late = runs.isel(setting=4), runs.isel(setting=5)
    assert np.all(early["num_steps"] < late["num_steps"])
    assert np.isfinite(runs["position"]).all()


def test_losses_are_those_of_the_endpoints(side_by_side):
    runs, *_ = side_by_side
    for replicate, data in enumerate(SETS):
        ends = runs.isel(replicate=replicate)
        losses = mean_losses(LINEAR, ends["position"], data)
        np.testing.assert_allclose(ends["final_training_loss"], losses, rtol=1e-5)
        terms = pointwise_log_likelihood(LINEAR, data, ends["position"].to_numpy())
        np.testing.assert_allclose(ends["final_worst_loss"], -terms.min(axis=-1), rtol=1e-5)
        np.testing.assert_allclose(losses, -terms.mean(axis=-1))
        np.testing.assert_allclose(ends["final_training_loss"], ends["training_loss"].isel(step=-1))


def test_held_out_losses_are_of_each_data_set_and_exact(side_by_side):
    """L(w) − S = |w − w₀|²/2 for standard normal inputs."""
    runs, *_ = side_by_side
    ends = runs["position"].to_numpy()
    away = np.sum((ends - LINEAR.optimum["w"]) ** 2, axis=-1) / 2
    losses = mean_losses(LINEAR, ends, held_out()[1])
    np.testing.assert_allclose(losses, LINEAR.optimal_loss + away)
    final = runs["final_held_out_loss"]
    np.testing.assert_allclose(final.sel(replicate=1), losses[:, 1], rtol=1e-5)
    training = runs["final_training_loss"]
    np.testing.assert_allclose(final.sel(replicate=0), training.sel(replicate=0), rtol=1e-5)


def test_function_values_are_those_of_the_model():
    problem = PROBLEMS["tanh_2d_3_teacher_2"]
    x = np.random.default_rng(0).normal(size=(4, 2))
    draws = [problem.model.sample_prior(key) for key in jax.random.split(KEY, 3)]
    flat = np.stack([np.concatenate([w[name].ravel() for name in "ab"]) for w in draws])
    values = function_values(problem, flat[None], x)
    by_hand = [np.tanh(x @ np.asarray(w["b"]).T) @ np.asarray(w["a"]).T for w in draws]
    np.testing.assert_allclose(values[0], by_hand, atol=1e-6)


def test_starts():
    """Matrices by their number of inputs, vectors zero, and given positions as they are."""
    model = slt.load_problem("teacher_student(relu,1,4,biases=True,input_dim=2)").model
    a, b, c = [0.5] * 4, [2**-0.5] * 8, [0.0] * 4
    np.testing.assert_allclose(fan_in_deviations(model), [*a, *b, *c])
    given = np.random.default_rng(0).normal(size=(2, 1, 3))
    runs = train(TrainingSettings(steps=1, step_size=1e-9), initial_positions=given)
    np.testing.assert_allclose(runs["position"][0], given + np.zeros((2, 2, 3)), rtol=1e-6)


@pytest.mark.false_alarm(comparisons=2, standard_errors=6)
def test_a_boolean_net_finds_functions_until_all_labels_are_right():
    """From the prior shrunk to a tenth, and from matrices by their number of inputs."""
    problem = PROBLEMS["boolean_logistic"]
    inputs = problem.model.inputs()
    data = Data(inputs, (inputs[:, 0] > 0).astype(float))
    settings = TrainingSettings.grid(
        initial=["prior", "fan_in"], initial_scale=0.5, step_size=0.5, batch_size=4, steps=100,
        stop_at_worst_loss=math.log(2),
    )  # fmt: skip
    runs = slt.train_ensemble(problem, data, settings, key=KEY, seeds=200, record=range(0, 101, 5))
    assert np.all(runs["stopped_by"] == "worst_loss")
    right = pointwise_log_likelihood(problem, data, runs["position"].to_numpy()) > -math.log(2)
    assert right.all()
    start = slt.train_ensemble(
        problem, data, [one._replace(step_size=1e-9, steps=1) for one in settings],
        key=KEY, seeds=200, record=[],
    )["position"]  # fmt: skip
    by_prior, by_fan_in = start.sel(setting=0), start.sel(setting=1)
    for part, deviation in ((by_prior, 0.5), (by_fan_in[..., :3], 0.5 / 3**0.5)):
        squares = (part**2).to_numpy() / deviation**2
        assert abs(squares.mean() - 1) < 6 * math.sqrt(2 / squares.size)
    assert np.all(np.abs(by_fan_in[..., 3:]) < 1e-8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": 3}, "^settings = 3: must be TrainingSettings"),
        ({"settings": []}, r"^settings = \[\]: must be TrainingSettings"),
        ({"settings": TrainingSettings(step_size=0.0)}, "^step_size = 0.0: must be a number > 0"),
        ({"settings": TrainingSettings(momentum=1.0)}, "^momentum = 1.0: must be a number ≥ 0 and"),
        ({"settings": TrainingSettings(optimiser="lion")}, "^optimiser = 'lion': must be one of"),
        ({"settings": TrainingSettings(batch_size=2.5)}, "^batch_size = 2.5: must be an integer"),
        ({"settings": TrainingSettings(stop_at_loss=math.inf)}, "^stop_at_loss = inf: must be"),
        ({"settings": TrainingSettings(patience=3)}, "^patience = 3: must be None without held"),
        (
            {"settings": TrainingSettings(schedule="linear", warmup=9, steps=9)},
            "^warmup = 9: must be < steps = 9 of a linear schedule",
        ),
        ({"settings": TrainingSettings(initial="fan_in")}, "^initial = 'fan_in': LinearRegression"),
        ({"seeds": 0}, "^seeds = 0: must be an integer ≥ 1"),
        ({"key": 0}, "^key = 0: must be one key"),
        ({"data": []}, r"^data = \[\]: must be Data"),
        ({"data": [SETS[0], X]}, r"^data\[1\] = .*: must be Data"),
        ({"held_out": [SETS[0]] * 3}, "^held_out: 3 data sets; must be one for all"),
        ({"held_out": [SETS[0], None]}, "^held_out holds None: must be data for each data set"),
        ({"held_out": HeldOut(SETS[0], np.ones(2), None)}, "^held_out.weights have shape"),
        ({"record": [3, 2]}, r"^record\[1\] = 2: must be > 3"),
        ({"record": [-1]}, r"^record\[0\] = -1: must be an integer ≥ 0"),
        ({"initial_positions": np.zeros((2, 2))}, r"^initial_positions have shape \(2, 2\); they"),
        ({"initial_positions": np.full(3, np.nan)}, r"^initial_positions\[0\] is nan; they must"),
        ({"progress": 1}, "^progress = 1: must be True or False"),
    ],
)
def test_wrong_arguments_are_refused(options, words):
    arguments = {"data": SETS, "settings": TrainingSettings(), "key": KEY, "seeds": 2} | options
    with pytest.raises(ValueError, match=words) as error:
        slt.train_ensemble(LINEAR, **arguments)
    assert "\n" not in str(error.value)


def test_what_is_no_function_is_refused():
    wrong, of_shape = np.zeros((2, 5)), r"^positions have shape \(2, 5\); allowed is .* d = 3"
    no_regression = "^boolean_logistic: function values need a regression"
    for words, call, *arguments in (
        (no_regression, function_values, PROBLEMS["boolean_logistic"], wrong, X),
        (of_shape, function_values, LINEAR, wrong, X),
        (of_shape, mean_losses, LINEAR, wrong, SETS[0]),
        ("^points = .*: must be Data", mean_losses, LINEAR, wrong, X),
        ("^problem = .*: must be a Problem", mean_losses, "linear_3", wrong, SETS[0]),
    ):
        with pytest.raises(ValueError, match=words):
            call(*arguments)
    with pytest.raises(ValueError, match="^step: no field; .* step_size"):
        TrainingSettings.grid(step=1)


def test_a_model_without_a_problem_is_trained(side_by_side):
    """A likelihood is all that it takes; w₀ and the truth are not."""
    runs, *_ = side_by_side
    same = train(
        *(settings._replace(steps=20) for settings, _ in CASES.values()), problem=LINEAR.model
    )
    np.testing.assert_array_equal(same["position"], runs["position"])


def test_progress_is_said(capsys):
    train(TrainingSettings(steps=3), record=[2], progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" in ")[0] for line in lines] == [
        "training: 1/3 step 0", "training: 2/3 step 2", "training: 3/3 step 3",
    ]  # fmt: skip


@pytest.mark.slow
def test_runs_in_float64_and_in_blocks_are_the_same(monkeypatch):
    """Blocks of four runs and float64 give the same endpoints."""
    settings = [case._replace(steps=20) for case, _ in CASES.values()]
    starts = np.random.default_rng(0).normal(size=(3, 3))
    runs = train(*settings, seeds=3, initial_positions=starts)
    with jax.enable_x64(True):
        fine = train(*settings, seeds=3, initial_positions=starts)
    assert fine["position"].dtype == np.float64
    np.testing.assert_allclose(fine["position"], runs["position"], atol=1e-5)
    monkeypatch.setattr(training, "MANY_CHAINS", 4)
    monkeypatch.setattr(training, "chains_in_cache", lambda _: 1)
    new = JobFunction(training.train_batch, num_static=2, num_shared=1)
    monkeypatch.setattr("slt_jax.inference.training.train_jobs", new)
    in_blocks = train(*settings, seeds=3, initial_positions=starts)
    for name in ("position", "training_loss", "num_steps"):
        np.testing.assert_allclose(in_blocks[name], runs[name], atol=1e-6)
