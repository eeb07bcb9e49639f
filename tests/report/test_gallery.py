"""The page of verdicts says what the committed figures say."""

import json
from pathlib import Path

from slt_jax.report.gallery import PAGE, collected, gallery

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    """If this fails, run python -m slt_jax.report.gallery and read what has changed."""
    assert collected(ROOT) == (ROOT / PAGE).read_text(encoding="utf-8")


def test_every_experiment_that_has_been_run_is_on_it() -> None:
    names = {path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py")}
    assert {path.stem for path in (ROOT / "figures").glob("*.json")} == names


def test_claims_stand_in_their_order_and_bars_do_not_end_a_cell() -> None:
    def verdict(*claims: str) -> dict[str, object]:
        found = {
            claim: {"claim": claim, "passage": "|x| is", "outcome": "fails", "why": "It is not."}
            for claim in claims
        }
        made = {"created_utc": "2020-01-01T00:00:00", "git_commit": "0123456789ab"}
        return json.loads(json.dumps({"claims": found, "provenance": made}))

    verdicts = {"a": verdict("E10", "E2"), "b": verdict("N11", "N2")}
    page = gallery(verdicts, {"a": "Is it?", "b": "Why?"}, {"a": ["a", "a_2"], "b": ["b"]})
    rows = [line for line in page.splitlines() if "[a](#a)" in line or "[b](#b)" in line]
    assert [row.split(" | ")[0] for row in rows] == ["| N2", "| N11", "| E2", "| E10"]
    assert rows[0] == "| N2 | \\|x\\| is | fails | [b](#b) |"
    section = page.split("\n## a\n")[1]
    assert section.index("(E2)") < section.index("(E10)")
    assert "“|x| is” (E2) **fails.** It is not." in section
    assert section.count("![a") == 2
