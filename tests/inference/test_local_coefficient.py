"""λ̂ in one call, beside what is known: quadratic forms, a singular point, one net in three ways."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import slt_jax as slt
from slt_jax.inference.local_coefficient import RELATIVE_GAMMA
from slt_jax.run.compilation import CompilationCounter

RNG = np.random.default_rng(0)
N, D = 100, 4
X = RNG.normal(size=(N, D))
Y = X @ np.ones(D) + RNG.normal(size=N)
FITTED = np.linalg.lstsq(X, Y)[0]
KEY = jax.random.key(0)


def squares(w, batch):
    """Linear regression with unit noise, nats per datum."""
    x, y = batch
    return (y - x @ w) ** 2 / 2


def coefficient(model=squares, params=FITTED, data=(X, Y), **options):
    return slt.local_learning_coefficient(model, params, data, **({"key": KEY} | options))


@pytest.fixture(scope="module")
def five():
    """Five checkpoints on the way to the fitted weights, and the compilations they took."""
    with CompilationCounter() as counter:
        found = coefficient(params=[FITTED + shift for shift in (3.0, 1.0, 1e-3, 0.0, 0.0)])
    return found, counter


def at_gamma(gamma):
    """λ̂ of the quadratic form at each γ: ½ Σ a/(a + γ) with the eigenvalues a of XᵀX/log n."""
    a = np.linalg.eigvalsh(X.T @ X) / np.log(N)
    return np.sum(a / (a + np.asarray(gamma)[..., None]), axis=-1) / 2


def test_checkpoints_are_one_program(five) -> None:
    found, counter = five
    assert counter.counts["pilot_batch"] == counter.counts["walk_batch"] == 1
    assert found.scan["extrapolated"].shape == (5, len(RELATIVE_GAMMA), 3)
    assert found.estimate.value.shape == (5,)
    with CompilationCounter() as again:
        coefficient(params=[FITTED + shift for shift in range(5)], beta=0.1, key=jax.random.key(1))
    assert not again.counts


@pytest.mark.false_alarm(comparisons=48, standard_errors=6)
def test_quadratic_form(five) -> None:
    """Every run at the minimum, and the average: the error holds the bias of the step."""
    found, _ = five
    for place in (2, 3, 4):
        scan = found.scan.isel(checkpoint=place)
        usable = (scan["settled"] & (scan["acceptance"] >= 0.9)).to_numpy()
        assert usable.mean() > 0.7
        miss = scan["extrapolated"].to_numpy() - at_gamma(scan["gamma"])[:, None]
        assert np.all(np.abs(miss) <= 6 * scan["extrapolated_se"].to_numpy(), where=usable)
    at_minimum = slice(2, None)
    value, error = found.estimate.value[at_minimum], found.estimate.standard_error[at_minimum]
    assert np.all(np.abs(value - D / 2) <= 6 * error)
    assert np.all(error < 0.35)
    assert found.dimension == D


def test_weights_that_are_no_minimum_are_marked(five) -> None:
    found, _ = five
    np.testing.assert_array_equal(found.table["is_minimum"], [False, False, True, True, True])
    np.testing.assert_array_equal(np.isinf(found.estimate.standard_error), [True] * 2 + [False] * 3)
    assert not found.converged
    assert found.reason.startswith("checkpoint 0: w* is no minimum: beta n L_n falls by ")
    assert "\ncheckpoint 0 not converged: w* is no minimum" in found.summary()
    loss = [np.mean(squares(FITTED + shift, (X, Y))) for shift in (3.0, 1.0)]
    np.testing.assert_allclose(found.table["loss"][:2], loss, rtol=1e-5)
    # The mean gradient and its standard error, of the first.
    gradients = -(Y - X @ (FITTED + 3.0))[:, None] * X
    assert found.table["gradient"][0] == pytest.approx(np.linalg.norm(gradients.mean(axis=0)))
    noise = np.sqrt(gradients.var(axis=0, ddof=1).sum() / N)
    assert found.table["gradient_se"][0] == pytest.approx(noise, rel=0.3)


def test_errors_have_their_sources(five) -> None:
    sources = five[0].estimate.sources
    parts = [sources.within_chains, sources.discretisation, sources.localisation, sources.descent]
    total = np.sqrt(np.sum(np.square(parts), axis=0))
    np.testing.assert_allclose(five[0].estimate.standard_error[2:], total[2:])
    assert np.all(total > 0)
    assert five[0].estimate.basis.beta == pytest.approx(1 / np.log(N))


@pytest.mark.slow
def test_units_change_nothing() -> None:
    """A loss in other units, with β in theirs, and weights in other units: the same runs."""

    def in_other_units(w, batch):
        return 1000 * squares(w / 64, batch)

    plain = coefficient(num_warmup=100, num_draws=10, thinning=2)
    other = coefficient(
        in_other_units, FITTED * 64, beta=1 / np.log(N) / 1000,
        num_warmup=100, num_draws=10, thinning=2,
    )  # fmt: skip
    values = [found.scan["local_learning_coefficient"] for found in (plain, other)]
    np.testing.assert_allclose(*values, rtol=0.02)
    np.testing.assert_allclose(other.scan["gamma"] * 64**2, plain.scan["gamma"], rtol=1e-3)
    np.testing.assert_allclose(other.scan["step_size"], plain.scan["step_size"] * 64**2, rtol=0.02)


def test_every_variable_has_a_long_name_and_units(five) -> None:
    for table in (five[0].table, five[0].scan):
        bare = [name for name, v in table.variables.items() if not v.attrs.get("long_name")]
        assert not bare
        assert all("units" in variable.attrs for variable in table.variables.values())


def test_figure(five) -> None:
    titles = [axes.get_title() for axes in five[0].plot().axes]
    assert titles[:3] == ["", "checkpoint 0: not converged", "checkpoint 1: not converged"]
    assert len(titles) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_chains": 1}, "num_chains = 1: must be an integer ≥ 2"),
        ({"num_draws": 3}, "num_draws = 3: must be an integer ≥ 4"),
        ({"num_warmup": -1}, "num_warmup = -1: must be an integer ≥ 0"),
        ({"thinning": 0}, "thinning = 0: must be"),
        ({"batch_size": 0}, "batch_size = 0: must be"),
        ({"batch_size": 101}, "batch_size = 101: must be at most n = 100"),
        ({"beta": -1.0}, "beta = -1.0: must be a number > 0"),
        ({"beta": np.nan}, "beta = nan: must be"),
        ({"gamma": [1.0, -1.0]}, r"gamma = \[1.0, -1.0\]: must be positive numbers that increase"),
        ({"gamma": 3.0}, "gamma = 3.0: must be positive numbers"),
        ({"step_size": ["a"]}, "step_size = .* must be positive"),
        ({"key": 0}, "key = 0: must be one key"),
        ({"dynamics": "no"}, "dynamics = 'no': must be one of overdamped, underdamped"),
        ({"dynamics": "underdamped", "batch_size": 9}, "batch_size = 9: must be None with underd"),
    ],
)  # fmt: skip
def test_refusals(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        coefficient(**options)


# --- slow: each compiles its own program ----------------------------------------------------


def trained(net: nnx.Module, x: np.ndarray, y: np.ndarray, steps: int) -> None:
    optimizer = nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(net, optimizer):
        optimizer.update(net, nnx.grad(lambda net: jnp.mean((net(x) - y) ** 2))(net))

    for _ in range(steps):
        step(net, optimizer)


class Net(linen.Module):
    """One hidden layer of three units."""

    @linen.compact
    def __call__(self, x):
        hidden = jnp.tanh(linen.Dense(3, name="first")(x))
        return linen.Dense(1, name="second")(hidden)


@pytest.mark.slow
def test_one_net_in_three_ways() -> None:
    """The same weights with the same key: the same runs, up to the order of weights."""
    x = RNG.normal(size=(N, 1))
    y = np.tanh(2 * x) + 0.3 * RNG.normal(size=(N, 1))
    rngs = nnx.Rngs(0)
    net = nnx.Sequential(nnx.Linear(1, 3, rngs=rngs), jnp.tanh, nnx.Linear(3, 1, rngs=rngs))
    untrained = nnx.clone(net)
    trained(net, x, y, 3000)
    weights = {
        name: {"kernel": layer.kernel[...], "bias": layer.bias[...]}
        for name, layer in (("first", net.layers[0]), ("second", net.layers[2]))
    }

    def by_hand(params, batch):
        x, y = batch
        first, second = params["first"], params["second"]
        hidden = jnp.tanh(x @ first["kernel"] + first["bias"])
        return jnp.sum((y - hidden @ second["kernel"] - second["bias"]) ** 2, axis=1) / 2

    ways = [
        coefficient(net, [net, untrained], (x, y), loss="gaussian"),
        coefficient(Net(), weights, (x, y), loss="gaussian"),
        coefficient(by_hand, weights, (x, y)),
    ]
    np.testing.assert_array_equal(ways[0].table["is_minimum"], [True, False])
    scans = [way.scan.isel(checkpoint=0) for way in ways]
    np.testing.assert_allclose(scans[0]["gamma"], scans[1]["gamma"], rtol=1e-3)
    np.testing.assert_allclose(scans[1]["gamma"], scans[2]["gamma"], rtol=1e-3)
    values = [float(np.atleast_1d(way.estimate.value)[0]) for way in ways]
    errors = [float(np.atleast_1d(way.estimate.standard_error)[0]) for way in ways]
    assert max(values) - min(values) < 3 * min(errors)
    assert max(errors) < 0.3 * min(values)


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=16, standard_errors=6)
def test_underdamped_dynamics_on_a_quadratic_form() -> None:
    """Every γ and step, whose bias is taken off, and the average."""
    found = coefficient(dynamics="underdamped")
    assert found.converged, found.reason
    scan = found.scan.isel(checkpoint=0)
    assert scan["settled"].all()
    miss = scan["extrapolated"].to_numpy() - at_gamma(scan["gamma"])[:, None]
    assert np.all(np.abs(miss) <= 6 * scan["extrapolated_se"].to_numpy())
    assert abs(found.estimate.value - D / 2) <= 6 * found.estimate.standard_error


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_masks_and_minibatches() -> None:
    """Two of four weights have half of λ; minibatches change nothing."""
    mask = np.array([True, False, True, False])
    part = coefficient(mask=mask, batch_size=50)
    assert part.dimension == 2
    assert part.estimate.basis.loss == "minibatch"
    assert part.converged, part.reason
    assert abs(part.estimate.value - 1) <= 6 * part.estimate.standard_error
    assert part.estimate.value + 3 * part.estimate.standard_error < 2


def product(w, batch):
    """y = w₁w₂x + noise."""
    x, y = batch
    return (y - w[0] * w[1] * x) ** 2 / 2


def at_product(energy_scale, gamma):
    """λ̂ of βnL_n = c(w₁w₂)² at each γ by quadrature."""
    log_w = np.linspace(-14, 5, 1200)
    square = np.exp(2 * log_w)
    energy = energy_scale * np.outer(square, square)
    exact = []
    for strength in np.asarray(gamma):
        log_density = np.add.outer(log_w, log_w) - energy
        log_density -= strength / 2 * np.add.outer(square, square)
        weights = np.exp(log_density - log_density.max())
        exact.append(np.sum(energy * weights) / np.sum(weights))
    return np.array(exact)


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=384, standard_errors=6)
def test_singular_point() -> None:
    """w* = 0 of y = w₁w₂x, whose data have their minimum there, at every γ and for 24 keys."""
    x, y = RNG.normal(size=(2, 1000))
    y = y - x * (x @ y) / (x @ x)
    misses = []
    for seed in range(24):
        found = coefficient(product, np.zeros(2), (x, y), key=jax.random.key(seed))
        assert found.table["is_minimum"].item()
        scan, row = found.scan.isel(checkpoint=0), found.table.isel(checkpoint=0)
        exact = at_product(x @ x / np.log(1000) / 2, scan["gamma"])
        usable = (scan["settled"] & (scan["acceptance"] >= 0.9)).to_numpy()
        assert usable.mean() > 0.7
        miss = scan["extrapolated"].to_numpy() - exact[:, None]
        assert np.all(np.abs(miss) <= 6 * scan["extrapolated_se"].to_numpy(), where=usable)
        inside = (scan["gamma"] >= row["gamma_low"]) & (scan["gamma"] <= row["gamma_high"])
        misses.append((found.estimate.value - exact[inside].mean()) / found.estimate.standard_error)
    assert np.max(np.abs(misses)) <= 6
    assert 0.2 < np.std(misses) < 1.5
    saddle = coefficient(product, np.zeros(2), (x, y + x))
    assert not saddle.table["is_minimum"].item()
    assert saddle.table["gradient"] == 0


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_many_data_are_summed_in_blocks() -> None:
    """n = 20000 by blocks of 8192, at γ and step sizes that are given."""
    x = RNG.normal(size=(20000, 2))

    def loss(w, batch):
        return jnp.sum((batch - w) ** 2, axis=1) / 2

    precision = 20000 / np.log(20000)
    found = coefficient(
        loss, x.mean(axis=0), x, gamma=precision * np.array([1e-3, 1e-2]),
        step_size=np.array([0.1, 0.3]) / precision, num_warmup=100, thinning=5,
    )  # fmt: skip
    assert found.converged, found.reason
    assert abs(found.estimate.value - 1) <= 6 * found.estimate.standard_error
    np.testing.assert_allclose(
        found.table["loss"], np.mean(np.sum((x - x.mean(axis=0)) ** 2, 1)) / 2, rtol=1e-4
    )


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_doubles() -> None:
    with jax.enable_x64(True):
        found = coefficient()
    assert found.converged, found.reason
    assert abs(found.estimate.value - D / 2) <= 6 * found.estimate.standard_error
    np.testing.assert_allclose(found.table["descent"], 0, atol=1e-12)
