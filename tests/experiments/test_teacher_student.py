"""Slim teachers: what cells share, the n from which one is learnt better, and each verdict."""

import dataclasses
import math

import jax
import numpy as np
import pytest
import xarray as xr

from experiments.teacher_student import PRESETS, Config
from experiments.teacher_student.families import FAMILIES, problem_of
from experiments.teacher_student.study import cells, coefficients
from experiments.teacher_student.verdict import (
    STUDENT,
    TEACHER,
    compared,
    numbers_of_comparisons,
    verdict,
)
from slt_jax.data import statistics_along_n

SIZES = np.array([10.0, 100.0, 1000.0, 10000.0])
SAMPLED = {"linear, 2-H-6": (1, 2), "tanh": (3, 4), "ReLU": (3, 4), "biased ReLU": (3, 4)}


def made_up(
    slopes: dict[str, tuple[float, float, float]],
    *,
    spread: float = 0.01,
    off: float = 0.0,
    converged: float = 1.0,
) -> xr.Dataset:
    """Make data of λ(n) on the slim teacher, the wider teacher, and of the wider student."""
    rng = np.random.default_rng(0)
    parts: dict[str, list] = {name: [] for name in ("family", "teacher", "student", "energy")}
    for family, (slim, student) in SAMPLED.items():
        widths = ((slim, student), (slim + 1, student), (slim, student + 1))
        for (teacher, width), slope in zip(widths, slopes[family], strict=True):
            noise = rng.normal(scale=spread, size=(len(SIZES), 8))
            for name, value in zip(
                parts,
                (family, teacher, width, slope * np.log(SIZES)[:, None] + noise),
                strict=True,
            ):
                parts[name].append(value)
    count, axes = len(parts["family"]), ("cell", "n", "replicate")
    energy = np.array(parts["energy"])
    exact = np.where(np.arange(count)[:, None, None] == 0, energy - off, np.nan)
    return xr.Dataset(
        {
            "normalised_free_energy": (axes, energy),
            "exact_normalised_free_energy": (
                axes,
                exact + rng.normal(scale=1e-3, size=exact.shape),
            ),
            "exact_normalised_free_energy_error": (axes, 0 * exact),
            "converged_share": (("cell", "n"), np.full((count, len(SIZES)), converged)),
            "cell_family": ("cell", parts["family"]),
            "cell_teacher": ("cell", parts["teacher"]),
            "cell_student": ("cell", parts["student"]),
            "cell_spacing": ("cell", np.ones(count)),
            "is_sampled": ("cell", np.ones(count, bool)),
            "noise": 0.1,
        },
        coords={"n": SIZES, "cell": [str(i) for i in range(count)]},
    ).merge(coefficients(6))


EASY = dict.fromkeys(SAMPLED, (1.0, 2.0, 3.0))


# --- what is compared -------------------------------------------------------------------------


def test_the_claimed_widths_are_answered_by_theorems() -> None:
    table = coefficients(6)
    at = table["learning_coefficient"].sel(student=4)
    for family, slim, wide in (
        ("linear, 6-H-6", 15, 16), ("tanh", 3.25, 4), ("ReLU", 1, 1), ("biased ReLU", 3, 4),
    ):  # fmt: skip
        found = at.sel(family=family)
        assert (float(found.sel(teacher=3)), float(found.sel(teacher=4))) == (slim, wide)
        relative = float(table["relative_coefficient"].sel(family=family, student=4, teacher=3))
        assert relative == slim / wide


def test_no_teacher_is_wider_than_its_student() -> None:
    """λ does not fall as the teacher widens, and is unknown of tanh nets with two spare units."""
    table = coefficients(6)["learning_coefficient"]
    for family in FAMILIES.values():
        for student in range(1, 7):
            row = table.sel(family=family.name, student=student).to_numpy()
            assert np.isnan(row[student + 1 :]).all()
            known = row[: min(student, family.widest_teacher) + 1]
            unknown = max(student - 2, 0) if family.slug == "tanh" else 0
            assert np.isnan(known).sum() == unknown
            assert np.all(np.diff(known[np.isfinite(known)]) >= 0)


def test_cells_have_the_wider_of_both_beside_them() -> None:
    chosen = {cell[:4] for cell in cells(Config())}
    assert {("tanh", 3, 4, 0.3), ("tanh", 4, 4, 0.3), ("tanh", 3, 5, 0.3)} <= chosen
    assert {("biased_relu", 3, 4, 1.0), ("relu", 1, 3, 1.0), ("linear_2", 2, 2, 1.0)} <= chosen
    assert {slug for slug, *_ in chosen} == set(FAMILIES) - {"linear"}
    assert all(student <= 6 and teacher <= student for _, teacher, student, _ in chosen)


def test_teachers_share_inputs_and_noise() -> None:
    """Sums of the inputs, and those with what the truth leaves of y, are the same of all."""
    few, many = (
        statistics_along_n(problem_of("tanh", width, 4, 1.0, 0.1), jax.random.key(0), 2, (50,))[0]
        for width in (3, 4)
    )
    np.testing.assert_array_equal(few.gram, many.gram)
    np.testing.assert_allclose(few.cross, many.cross, atol=1e-12)
    assert not np.allclose(few.optimum, many.optimum)


def test_relu_teachers_of_three_and_four_units_have_two_slopes() -> None:
    x = np.linspace(-1.0, 1.0, 11)
    for width in (3, 4):
        problem = problem_of("relu", width, 4, 0.5, 0.1)
        y = np.array([float(problem.model.predict(problem.optimum, at)[0]) for at in x])
        positive = 0.5 * sum(range(1, width + 1, 2))
        negative = 0.5 * sum(range(2, width + 1, 2))
        np.testing.assert_allclose(y, np.where(x > 0, positive * x, -negative * x), atol=1e-6)


def test_breakpoints_are_half_a_spacing_apart() -> None:
    optimum = problem_of("biased_relu", 3, 4, 0.6, 0.1).optimum
    np.testing.assert_allclose(-optimum["c"][:3] / optimum["b"][:3], [-0.3, 0.0, 0.3], atol=1e-12)
    assert optimum["a"][3] == 0


# --- from which n -----------------------------------------------------------------------------


def curve(*rises: float, spread: float = 0.01) -> xr.Dataset:
    """Make two cells, the second of which is flat, whose difference rises by these nats."""
    rng = np.random.default_rng(1)
    difference = np.cumsum(rises)[:, None] + rng.normal(scale=spread, size=(len(rises), 8))
    energies = np.stack([difference, np.zeros_like(difference)])
    return xr.Dataset(
        {
            "normalised_free_energy": (("cell", "n", "replicate"), energies),
            "exact_normalised_free_energy_error": (("cell", "n", "replicate"), 0 * energies),
            "converged_share": (("cell", "n"), np.ones((2, len(rises)))),
            "is_sampled": ("cell", [True, True]),
        },
        coords={"n": SIZES[: len(rises)]},
    )


@pytest.mark.parametrize(
    ("rises", "state", "low", "sure"),
    [
        ((-1, -1, -1, -1), "from", 0, 0),
        ((1, -1, -1, -1), "from", 10, 10),
        ((1, 1, 1, -1), "from", 1000, 1000),
        ((1, 0, -1, -1), "from", 10, 100),
        ((-1, -1, -1, 1), "never", None, None),
        ((-1, -1, -1, 0), "open", 0, None),
        ((-1, 1, -1, 0), "open", 100, None),
    ],
)
def test_the_n_from_which_the_gap_is_below_zero(
    rises: tuple[float, ...], state: str, low: float | None, sure: float | None
) -> None:
    found = compared(curve(*rises), 0, 1)
    assert (found["state"], found["low"], found["sure"]) == (state, low, sure)
    for value, rise in zip(found["gap"][1:], rises[1:], strict=True):
        assert value == pytest.approx(rise / math.log(10), abs=0.05)
    assert found["gap"][0] == pytest.approx(rises[0], abs=0.05)


def test_a_gap_within_the_bound_of_the_oracle_is_open() -> None:
    dataset = curve(-1, -1, -1, -1).assign(is_sampled=("cell", [False, False]))
    assert compared(dataset, 0, 1)["state"] == "from"
    dataset["exact_normalised_free_energy_error"] += 0.3
    found = compared(dataset, 0, 1)
    assert found["state"] == "open"
    assert found["bound"][0] == pytest.approx(0.6)
    assert found["bound"][-1] == pytest.approx(1.2 / math.log(10))


def test_cells_of_fewer_data_sets_are_padded() -> None:
    dataset = made_up(EASY)
    padded = dataset.pad(replicate=(0, 3))
    whole, fewer = (numbers_of_comparisons(each) for each in (padded, dataset))
    assert [row["gap"] for row in whole] == [row["gap"] for row in fewer]


def test_comparisons_are_with_one_more_unit() -> None:
    rows = numbers_of_comparisons(made_up(EASY))
    assert len(rows) == 2 * len(SAMPLED)
    for row in rows:
        expected = {TEACHER: -1.0, STUDENT: -2.0}[row["against"]]
        assert row["gap"][-1] == pytest.approx(expected, abs=0.05)


# --- verdicts ---------------------------------------------------------------------------------


def without_relu(dataset: xr.Dataset) -> xr.Dataset:
    """Leave out the family in which both teachers are one function."""
    kept = dataset.isel(cell=dataset["cell_family"].to_numpy() != "ReLU")
    return kept.sel(family=[name for name in kept["family"].to_numpy() if name != "ReLU"])


def outcome(dataset: xr.Dataset) -> str:
    (finding,) = verdict(dataset).findings
    return finding.outcome


def test_it_holds_where_lambda_and_loss_are_lower_everywhere() -> None:
    assert outcome(without_relu(made_up(EASY))) == "holds"


def test_it_holds_only_for_other_functions() -> None:
    found = verdict(made_up(EASY))
    (finding,) = found.findings
    assert finding.outcome.startswith("holds only if the wider teacher is a function")
    assert "(not so of ReLU)" in finding.outcome
    assert "3 < 4 for biased ReLU" in finding.why
    assert "tanh 3 in 4, at spacing 1 from the first datum on" in finding.why


def test_it_holds_only_where_n_tells_units_apart() -> None:
    found = outcome(without_relu(made_up({**EASY, "tanh": (2.0, 1.0, 3.0)})))
    assert found.startswith("holds only if n is large enough")
    assert "tanh 3 in 4 at spacing 1 up to n = 10000" in found


def test_it_fails_where_no_lambda_is_lower() -> None:
    dataset = made_up(EASY)
    dataset["learning_coefficient"] = 0 * dataset["learning_coefficient"] + 1
    assert outcome(dataset) == "fails"


@pytest.mark.parametrize("spoilt", [{"spread": 30.0}, {"converged": 0.5}])
def test_it_is_undecided_where_nothing_is_settled(spoilt: dict[str, float]) -> None:
    assert outcome(made_up(EASY, **spoilt)) == "is undecided"


def test_samples_that_are_off_are_told() -> None:
    right, wrong = (verdict(made_up(EASY, off=off)) for off in (0.0, 0.1))
    assert right.numbers["check"]["agrees"]
    assert not wrong.numbers["check"]["agrees"]
    assert any("TOO FAR" in note for note in wrong.notes)


def test_samples_that_have_not_converged_are_marked() -> None:
    found = verdict(made_up(EASY, converged=0.5))
    assert "samples not converged" in found.findings[0].why
    assert "50% !" in found.table
    assert any("tanh 3 in 4 at spacing 1 beyond n = 0" in note for note in found.notes)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slim_widths": (1, 4), "max_width": 5}, r"slim_widths = \(1, 4\): the wider student"),
        ({"biased_slim_widths": (2,)}, r"biased_slim_widths = \(2,\): .* ≤ max_width = 3"),
    ],
)
def test_students_wider_than_the_table_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        dataclasses.replace(PRESETS["smoke"], **changes)
