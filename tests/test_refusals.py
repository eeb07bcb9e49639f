"""Wrong arguments of public functions: one line that names them and says what is allowed."""

import functools
import itertools
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import slt_jax as slt
from slt_jax import Data, estimators, theory
from slt_jax.curves.jobs import target_of, temperature_nodes
from slt_jax.curves.sampled_curve import CHAIN_SAMPLERS
from slt_jax.curves.simulated_ranks import simulated_ranks
from slt_jax.data import fixed_design_statistics, statistics_along_n
from slt_jax.estimators import diagnostics
from slt_jax.models import load_problem, problems_of
from slt_jax.oracles.criteria import pointwise_moments, simulated_points
from slt_jax.samplers.mode import posterior_mode
from slt_jax.samplers.sgld import RMSProp, sgld

PROBLEMS = slt.named_problems()
LINEAR = PROBLEMS["linear_3"]
KEY = jax.random.key(0)
SAMPLERS = {"smc": slt.SMCSettings(), **CHAIN_SAMPLERS}
PAIRS = np.ones((4, 3))
ENERGIES = np.ones((2, 4, 8))
DRAWS = np.ones((2, 4, 8))


@functools.cache
def given() -> SimpleNamespace:
    """Arguments that are right, of which each case spoils one."""
    data = slt.simulate(LINEAR, KEY, 6)
    points = slt.quadrature_points(LINEAR, ((2, 2), (1, 1)))
    statistics, oracle = slt.statistics_of(LINEAR, data), slt.oracle_for(LINEAR)
    return SimpleNamespace(data=data, points=points, statistics=statistics, oracle=oracle)


def exact(problem=LINEAR, beta=1.0, data=None, **options):
    return slt.exact(problem, given().data if data is None else data, beta, **options)


def sample(problem=LINEAR, data=None, beta=1.0, key=KEY, **options):
    return slt.sample(problem, given().data if data is None else data, beta, key=key, **options)


def train(problem=LINEAR, data=None, **options):
    return slt.train_ensemble(problem, given().data if data is None else data, key=KEY, **options)


def draw(name, target=None, key=KEY, data=None, betas=(1.0,), start=None, step_size=None):
    target = target_of(LINEAR.model) if target is None else target
    data = given().statistics if data is None else data
    start = np.zeros((4, 3)) if start is None else start
    settings = SAMPLERS[name] if isinstance(name, str) and name in SAMPLERS else name
    return slt.draw_posterior(target, settings, key, data, betas, start, step_size)


def langevin(beta=1.0, gamma=1.0, step_size=0.1, centre=(0.0, 0.0, 0.0), start=None, **changes):
    settings = SAMPLERS["sgld"]._replace(**changes)
    start = np.zeros((4, 3)) if start is None else start
    arguments = (given().statistics, beta, gamma, np.asarray(centre), step_size, start)
    return sgld(target_of(LINEAR.model), settings, KEY, *arguments)


def with_oracle(call):
    return lambda *arguments, **options: call(given().oracle, *arguments, **options)


def scan(gamma=(0.0, 1.0), step_size=(0.1, 0.2)):
    shape = (2, 2, 4, 8)
    return estimators.local_scan(np.ones(shape), 0.0, 100, gamma, step_size, np.ones(shape[:3]))


BETA = {
    "exact": lambda b: exact(beta=b),
    "sample": lambda b: sample(beta=b),
    "moments": lambda b: given().oracle.moments(given().statistics, b),
    "evaluate": lambda b: given().oracle.evaluate(given().data, b),
    "training_criteria": lambda b: slt.training_criteria(given().oracle, given().data, b),
    "pointwise_moments": lambda b: pointwise_moments(given().oracle, given().data, beta=b),
    "generalisation_errors": lambda b: slt.generalisation_errors(
        given().oracle, given().data, given().points, b
    ),
    "scaled": lambda b: given().statistics.scaled(b),
    "sgld": lambda b: langevin(beta=b),
    "two_temperatures": lambda b: estimators.two_temperature_coefficient(PAIRS, PAIRS, b, 2.0),
    "energy_variance": lambda b: estimators.energy_variance_coefficient(PAIRS, b),
    "generalisation": lambda b: estimators.generalisation_coefficient(PAIRS, 100, b),
    "variance_fluctuation": lambda b: estimators.variance_fluctuation(PAIRS, b),
    "bayes_fluctuation": lambda b: estimators.bayes_fluctuation(PAIRS, PAIRS, 10, b),
    "local": lambda b: estimators.local_learning_coefficient(ENERGIES, 0.0, 100, b),
    "loss_moments": lambda b: estimators.loss_moments(DRAWS, beta=b),
    "smoothed": lambda b: estimators.smoothed_leave_one_out(DRAWS, b),
}
WRONG_BETAS = (-1.0, math.nan, math.inf, "1", True, 1j, np.array([0.5, 1.0]))


@pytest.mark.parametrize("door", BETA)
@pytest.mark.parametrize("beta", WRONG_BETAS, ids=str)
def test_a_wrong_beta_is_refused(door, beta):
    refused(r"^(first_)?beta (=|has shape) .*(must be|allowed is) ", BETA[door], beta)


COUNTS = {
    "simulate": lambda n: slt.simulate(LINEAR, KEY, n),
    "statistics_along_n": lambda n: statistics_along_n(LINEAR, KEY, 2, [n]),
    "replicates": lambda n: statistics_along_n(LINEAR, KEY, n, [10]),
    "design": lambda n: fixed_design_statistics(LINEAR, KEY, 2, [n]),
    "simulated_points": lambda n: simulated_points(LINEAR, KEY, n),
    "temperature_nodes": temperature_nodes,
    "ranks": lambda n: simulated_ranks(LINEAR, SAMPLERS["nuts"], KEY, n, 5, 2),
    "seeds": lambda n: sample(seeds=n),
    "runs": lambda n: train(seeds=n),
    "num_chains": lambda n: sample(num_chains=n),
    "bic": lambda n: estimators.bic(1.0, n, 100),
    "blocks": lambda n: estimators.loss_moments(DRAWS, n),
    "multiplicity": lambda n: estimators.slope_coefficient(np.ones((2, 2)), [10, 100], n),
    "volume": lambda n: estimators.volume_coefficient(np.ones(9), [0.1, 0.01], n),
    "refinement": lambda n: slt.oracle_for(LINEAR, n),
    "tanh": theory.tanh_zero_truth,
    "regular": theory.regular,
    "widths": lambda n: theory.deep_linear([n, 2], 1),
    "no_widths": lambda n: theory.deep_linear(n, 1),
    "exponents": theory.monomial,
    "relu": lambda n: theory.relu_network(n, [1, 1]),
}


@pytest.mark.parametrize("door", COUNTS)
@pytest.mark.parametrize("n", [2.5, 20.0, -3, True, "20", math.nan, None], ids=str)
def test_a_count_that_is_no_positive_integer_is_refused(door, n):
    refused(r"must be an integer|must be one or more|allowed: |n must be ≥ 3", COUNTS[door], n)


PROBLEM_DOORS = {
    "simulate": lambda p: slt.simulate(p, KEY, n=5),
    "statistics_of": lambda p: slt.statistics_of(p, given().data),
    "statistics_along_n": lambda p: statistics_along_n(p, KEY, 2, [5]),
    "oracle_for": slt.oracle_for,
    "quadrature_points": slt.quadrature_points,
    "exact": exact,
    "sample": sample,
    "train": train,
    "ranks": lambda p: simulated_ranks(p, SAMPLERS["nuts"], KEY, 2, 5, 2),
}
NO_PROBLEMS = {
    "name": lambda: "linear_3",
    "model": lambda: LINEAR.model,
    "data": lambda: given().data,
    "none": lambda: None,
    "class": lambda: slt.Problem,
}


# A model alone is a problem of which no truth is known.
TAKES_MODELS = {("exact", "model"), ("sample", "model"), ("train", "model")}


@pytest.mark.parametrize(
    ("door", "kind"), sorted(set(itertools.product(PROBLEM_DOORS, NO_PROBLEMS)) - TAKES_MODELS)
)
def test_what_is_no_problem_is_refused(door, kind):
    refused("^problem = .*: must be a Problem", PROBLEM_DOORS[door], NO_PROBLEMS[kind]())


@pytest.mark.parametrize("kind", NO_PROBLEMS)
def test_what_is_no_oracle_is_refused(kind):
    data, points, wrong = given().data, given().points, NO_PROBLEMS[kind]()
    for call in (
        lambda: slt.training_criteria(wrong, data),
        lambda: slt.generalisation_errors(wrong, data, points),
        lambda: slt.wbic(wrong, data),
        lambda: pointwise_moments(wrong, data),
    ):
        refused("^oracle = .*: must be an Oracle", call)


DATA_DOORS = {
    "statistics_of": lambda data: slt.statistics_of(LINEAR, data),
    "exact": lambda data: exact(data=data),
    "sample": lambda data: sample(data=data),
    "training_criteria": with_oracle(slt.training_criteria),
    "wbic": with_oracle(slt.wbic),
    "generalisation_errors": lambda data: slt.generalisation_errors(
        given().oracle, data, given().points
    ),
    "held_out": lambda data: exact(held_out=data),
    "train": lambda data: train(data=data),
}
X, Y = np.zeros((4, 3)), np.zeros((4, 1))
WRONG_DATA = {
    "strings": (Data(np.full((4, 3), "a"), Y), "^x: array of type <U1; allowed: real numbers"),
    "complex": (Data(X + 1j, Y), r"^x\[0, 0\] is .*1.*j.*; allowed: real numbers"),
    "objects": (Data(np.full((4, 3), None), Y), "^x: array of type object; allowed: real"),
    "dates": (Data(np.zeros((4, 3), "M8[D]"), Y), "^x: array of type datetime64.* allowed: real"),
    "ragged": (Data([[1, 2], [3]] * 2, Y), "^x = .*: must be an array of real numbers"),
    "missing": (Data(pd.DataFrame(X).replace(0.0, None), Y), "^x.* (nan|object)"),
    "nan": (Data(X * np.nan, Y), r"^x\[0, 0\] is nan; data must be finite"),
    "flat_y": (Data(X, Y[:, 0]), r"^y has shape \(4,\); linear_3 needs \(n, 1\): y\[:, None\]"),
    "swapped": (Data(Y, X), r"^x has shape \(4, 1\); linear_3 needs \(n, 3\)"),
    "scalars": (Data(1.0, 2.0), r"^x has shape \(\); linear_3 needs \(n, 3\)"),
    "array": (X, "= .*: must be Data"),
    "pair": ((X, Y), "= .*: must be Data"),
    "dictionary": ({"x": X, "y": Y}, "= .*: must be Data"),
    "name": ("linear_3", "= 'linear_3': must be Data"),
    "problem": (LINEAR, "= a Problem: must be Data"),
}


@pytest.mark.parametrize("door", DATA_DOORS)
@pytest.mark.parametrize("kind", WRONG_DATA)
def test_wrong_data_are_refused(door, kind):
    data, words = WRONG_DATA[kind]
    refused(words, DATA_DOORS[door], data)


@pytest.mark.parametrize("door", [door for door in DATA_DOORS if door != "statistics_of"])
def test_no_data_at_all_are_refused(door):
    refused("0 data; must be ≥|n = 0: WBIC", DATA_DOORS[door], Data(X[:0], Y[:0]))


@pytest.mark.parametrize("name", SAMPLERS)
def test_wrong_temperatures_are_refused_by_every_sampler(name):
    for betas in ([-1.0], [math.nan], [math.inf], [1.0, 0.5], [0.5, 0.5, 1.0], ["1"], [1j], [True]):
        refused(r"^betas\[\d\] = .*: must be ", draw, name, betas=betas)
    refused(r"^betas has shape \(\)", draw, name, betas=1.0)
    refused(r"^betas has shape \(0,\)", draw, name, betas=[])
    traced = jax.jit(lambda betas: draw(name, betas=betas))
    refused(r"^betas has shape \(\)", traced, jnp.ones(()))


def test_temperatures_beyond_a_path_are_refused():
    refused("^betas end at 0.5; the last of SMC must be 1", draw, "smc", betas=[0.5])
    refused("^betas end at 2; the last of SMC must be 1", draw, "smc", betas=[0.5, 2.0])
    refused(r"^betas\[0\] = 2.0: must be ", draw, "tempering", betas=[2.0])
    refused(r"^betas\[0\] = 0.0: must be ", draw, "tempering", betas=[0.0])


@pytest.mark.parametrize("name", SAMPLERS)
def test_wrong_starts_are_refused_by_every_sampler(name):
    shapes = {(4, 7): r"\(4, 7\); allowed is \[chain.*d = 3", (3,): r"\(3,\)", (0, 3): r"\(0, 3\)"}
    for shape, words in shapes.items():
        refused(f"^initial_positions has shape {words}", draw, name, start=np.zeros(shape))
    refused(
        "^initial_positions.* is nan; must be finite", draw, name, start=np.full((4, 3), np.nan)
    )
    refused("^initial_positions.*; allowed: real", draw, name, start=np.full((4, 3), 1j))
    refused("^initial_positions: array of type <U1", draw, name, start="a")
    traced = jax.jit(lambda start: draw(name, start=start))
    refused(r"^initial_positions has shape \(4, 7\)", traced, jnp.zeros((4, 7)))


@pytest.mark.parametrize(
    "step_size", [-1.0, 0.0, math.nan, math.inf, "a", True, np.ones(2)], ids=str
)
def test_wrong_steps_and_gammas_are_refused(step_size):
    for name in SAMPLERS:
        refused("^step_size (=|has shape) ", draw, name, step_size=step_size)
    refused("^step_size ", langevin, step_size=step_size)
    refused("^step_size ", sample, step_size=step_size)
    if not isinstance(step_size, str) and np.ndim(step_size) == 0 and step_size is not True:
        refused(r"^step_size\[.\] = ", scan, step_size=(0.1, step_size))
    if step_size != 0.0 if np.ndim(step_size) == 0 else True:
        refused("^gamma (=|has shape) ", langevin, gamma=step_size)


def test_a_scan_refuses_gammas_and_steps_in_disorder():
    for gamma in (-1.0, math.nan, math.inf):
        refused(r"^gamma\[1\] = .*: must be a number ≥ 0", scan, gamma=(0.0, gamma))
    refused(r"^step_size\[1\] = 0.1: must be > 0.2", scan, step_size=(0.2, 0.1))


def test_samplers_refuse_other_kinds_of_arguments():
    data = given().data
    for wrong in (LINEAR.model, LINEAR, "linear_3"):
        refused("^target = .*: must be a Target", draw, "mala", target=wrong)
    for wrong in (data, LINEAR.model, "linear_3", 3.0):
        refused("^data = .*: target.log_likelihood must", draw, "mala", data=wrong)
        refused("^data = .*: target.log_likelihood must", draw, "smc", data=wrong)
    for wrong in (slt.NUTSSettings, "gibbs", None):
        refused("^settings = .*: must be settings", draw, wrong)
        refused("^sampler = .*: must be settings", sample, sampler=wrong)
    for wrong in (0, None, "key", jax.random.split(KEY, 2), jax.random.PRNGKey(0)):
        refused("^key = .*: must be one key", draw, "mala", key=wrong)
        refused("^key = .*: must be one key", slt.simulate, LINEAR, wrong, 3)
        refused("^key = .*: must be one key", sample, key=wrong)


def test_oracles_refuse_other_kinds_of_arguments():
    data, oracle = given().data, given().oracle
    for wrong in (data, None, "linear_3", LINEAR, X):
        refused("^statistics = .*: must be those of data", oracle.moments, wrong)
        refused("^statistics = .*: must be those of data", oracle.log_evidence, wrong)
    other = PROBLEMS["monomial_1_1"]
    statistics = slt.statistics_of(other, Data(X[:, :1], Y))
    refused("^statistics.gram has shape .* must end in", oracle.moments, statistics)
    for wrong in (data, None, "points"):
        refused("^held_out = ", slt.generalisation_errors, oracle, data, wrong)
    short = given().points._replace(weights=np.ones(2))
    refused("^held_out.weights have shape", slt.generalisation_errors, oracle, data, short)


def test_what_finds_things_refuses_other_kinds_of_arguments():
    refused(
        "^start has shape", posterior_mode, target_of(LINEAR.model), given().statistics, X[0, :2]
    )
    refused("^model = .*: must be a Model", target_of, LINEAR)
    refused("^specs = 'linear_3': must be a sequence", problems_of, "linear_3")
    refused("^problem 3: must be a string", load_problem, 3)
    refused("^orders = ", slt.quadrature_points, LINEAR, (3, 4))
    refused(r"^orders\[0\]\[0\] = 0: must", slt.quadrature_points, LINEAR, ((0, 4), (3, 3)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": 3}, "^name = 3: must be a string"),
        ({"model": LINEAR}, "^model = .*: must be a Model"),
        ({"optimum": np.zeros(3)}, "^optimum = .*: must be parameter arrays by name"),
        ({"optimum": {"v": np.zeros(3)}}, "^own: optimum has v: must have w"),
        ({"optimum": {"w": np.zeros(2)}}, r"^own: optimum\['w'\] has shape \(2,\): must be \(3,\)"),
        ({"optimum": {"w": np.full(3, np.nan)}}, r"^own: optimum\['w'\]\[0\] is nan; must be"),
        ({"optimum": {"w": np.full(3, 1j)}}, r"^own: optimum\['w'\]\[0\] is .*1.*j; allowed: real"),
        ({"optimum": {"w": np.full(3, "a")}}, r"^own: optimum\['w'\]: array of type <U1"),
        ({"theory": 0.5}, "^theory = 0.5: must be a Theory or None"),
        ({"truth": {"w": 1}}, "^truth = .*: must be a Truth or None"),
        ({"divergence": -1.0}, "^divergence = -1.0: must be a number ≥ 0 and finite"),
    ],
)
def test_wrong_fields_of_a_problem_are_refused(changes, words):
    fields = {"name": "own", "model": LINEAR.model, "optimum": LINEAR.optimum} | changes
    refused(words, lambda: slt.simulate(slt.Problem(**fields), KEY, 3))


BETWEEN = ("target_acceptance", "ess_fraction")
OTHERS = ("with_prior", "diagonal_mass_matrix", "schedule")


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_setting_is_checked(name):
    settings = SAMPLERS[name]
    for field in settings._fields:
        if field not in OTHERS:
            for wrong in (-1, math.nan, "a", *((2.0,) if field in BETWEEN else ())):
                spoilt = settings._replace(**{field: wrong})
                refused(f"^{field} = .*: must be", draw, spoilt)
                refused(f"^{field} = .*: must be", sample, sampler=spoilt)
    for field, wrong in (("decay", 1.0), ("damping", 0.0)):
        spoilt = RMSProp()._replace(**{field: wrong})
        refused(f"^{field} = ", langevin, preconditioner=spoilt)


ARRAYS = {
    "mean_over_seeds": estimators.mean_over_seeds,
    "mean_over_data_sets": estimators.mean_over_data_sets,
    "log_mean_over_seeds": estimators.log_mean_over_seeds,
    "free_energy_from_evidence": estimators.free_energy_from_evidence,
    "mean_over_chains": estimators.mean_over_chains,
    "r_hat": diagnostics.r_hat,
    "effective_sample_size": diagnostics.effective_sample_size,
    "drift_p_value": diagnostics.drift_p_value,
    "judge": diagnostics.judge,
    "nested_r_hat": diagnostics.nested_r_hat,
    "wbic": lambda draws: estimators.wbic(draws, 100),
    "wbic_coefficient": lambda draws: estimators.wbic_coefficient(draws, 100),
    "slope": lambda values: estimators.slope_coefficient(values, [10, 20, 30, 40]),
    "growth": lambda values: estimators.growth(values, [10, 20, 30, 40]),
    "loss_moments": estimators.loss_moments,
    "smoothed": estimators.smoothed_leave_one_out,
    "bennett": lambda energies: estimators.multistate_bennett(energies, [0.5, 1.0]),
    "bennett_beta": lambda beta: estimators.multistate_bennett(ENERGIES, beta),
    "ranks": lambda draws: estimators.rank_uniformity(draws, np.ones(4)),
    "energy_distance": lambda draws: estimators.energy_distance(draws, PAIRS),
    "classifier": lambda draws: estimators.classifier_two_sample(PAIRS, draws),
    "bic": lambda energy: estimators.bic(energy, 3, 100),
    "two_temperatures": lambda e: estimators.two_temperature_coefficient(e, e, 0.1, 0.2),
    "moments": estimators.waic,
    "power_law": lambda n: estimators.fit_power_law(n, [1.0] * 4, [1.0] * 4),
    "integration": lambda path: estimators.thermodynamic_integration(path, path, path, [0.0] * 4),
    "asymptote": theory.regular(3).free_energy_asymptote,
}


@pytest.mark.parametrize("door", ARRAYS)
@pytest.mark.parametrize(
    "values",
    [np.full((4, 4), "a"), np.full((4, 4), 1j), [[1.0, 2.0], [3.0]], [[None] * 4] * 4, "a"],
    ids=["strings", "complex", "ragged", "none", "name"],
)
def test_what_is_no_array_of_real_numbers_is_refused(door, values):
    words = "allowed: real numbers|must be an array of real numbers|must be LossMoments"
    refused(words, ARRAYS[door], values)


def test_what_would_be_spread_over_other_values_is_refused():
    moments = estimators.loss_moments(DRAWS)
    scalar, pair, three = 1.0, np.ones(2), np.ones(3)
    for call, words in [
        (lambda: estimators.mean_over_seeds(scalar), "seed: a standard error needs"),
        (lambda: estimators.bayes_fluctuation(scalar, pair, 10), "must be pairs"),
        (lambda: estimators.bayes_fluctuation(three, pair[:1], 10), "must be pairs"),
        (lambda: estimators.two_temperature_coefficient(three[:, None], three, 1, 2), "be pairs"),
        (lambda: estimators.wbic_coefficient(pair, [10, 20]), r"^n has shape \(2,\); allowed is"),
        (lambda: estimators.slope_coefficient(np.ones((2, 3)), [10, 20]), r"\[data set, n\]"),
        (lambda: estimators.growth(np.ones((2, 3)), 10), "1 different n"),
        (lambda: estimators.bayes_generalisation_loss(moments, weights=pair), r"must be \(8,\)"),
        (lambda: estimators.local_learning_coefficient(ENERGIES, np.ones(8), 9), "^energy_at_cen"),
        (lambda: given().oracle.evaluate(given().data, weights=2.0), r"^weights have shape \(\)"),
        (lambda: estimators.wbic(ENERGIES, 100, "w1"), "^reference = 'w1': must be one of w0"),
        (lambda: theory.sum_of(theory.regular(1), 2), r"^theories\[1\] = 2: must be a Theory"),
        (lambda: estimators.sbic([1.0], {(0, 0): 1}, 100), r"^theories.* = 1: must be a Theory"),
        (lambda: estimators.calibrate(1.0, 1.0), "^estimate = 1.0: must be an Estimate"),
        (lambda: estimators.mean_over_seeds(pair).half_width(1.5), "^coverage = 1.5: must be"),
    ]:
        refused(words, call)


@pytest.mark.parametrize("kind", [kind for kind in NO_PROBLEMS if kind != "class"])
def test_what_takes_results_refuses_other_kinds(kind, tmp_path):
    wrong = NO_PROBLEMS[kind]()
    refused("^posterior = .*: must be a posterior", slt.save_posterior, wrong, tmp_path / "p.nc")
    refused("^settings = .*: must be TrainingSettings", train, settings=wrong)
    refused("^curve.*must be a dataset of learning_curve", slt.plot_learning_curve, wrong)
    refused("^problem = .*: must be a Problem", slt.with_reference, wrong, given().data)
    if kind != "name":
        refused("^problem .*: must be a string", slt.load_problem, wrong)
        refused("^path = .*: must be the name of a file", slt.load_posterior, wrong)
        refused("^folder = ", slt.learning_curve, LINEAR, [9], key=KEY, folder=3)
    if kind != "data":
        refused("^data = .*: must be Data", slt.with_reference, LINEAR, wrong)
    refused("^log_likelihood = .*: must be a function of", slt.define_model, wrong, {})
    refused("^priors = .*: must be a dict", slt.define_model, lambda w, x, y: 0.0, wrong)


def test_points_with_wrong_weights_are_refused_before_anything_is_sampled():
    points = given().points
    for weights in (points.weights[:2], points.weights * np.nan):
        wrong = points._replace(weights=weights)
        refused("^held_out.weights", exact, held_out=wrong)
        refused("^held_out.weights", sample, held_out=wrong)


def refused(words, call, *arguments, **options):
    with pytest.raises(ValueError, match=words) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
