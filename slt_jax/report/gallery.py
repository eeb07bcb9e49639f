"""The page of all verdicts, written from figures/: python -m slt_jax.report.gallery"""

import argparse
import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slt_jax.run.store import replace_file

PAGE = Path("docs/verdicts.md")
FIGURES = Path("figures")
EXPERIMENTS = Path("experiments")

HEADER = """# Verdicts

Written by `python -m slt_jax.report.gallery`, from the JSON in `figures/`. Each experiment puts
claims to the test; its verdict on each is printed by its run, with the numbers behind it. A passage
is quoted, and its code says where it stands: N1 to N11 in a research note on singular learning
theory and deep learning, E1 to E15 in an essay against the theory and its comments.

| claim | passage | verdict | experiment |
|---|---|---|---|
"""


def gallery(
    verdicts: Mapping[str, Mapping[str, Any]],
    questions: Mapping[str, str],
    figures: Mapping[str, Sequence[str]],
) -> str:
    """Write the page: a row for each claim, and a section for each experiment.

    ``verdicts``: contents of its JSON by name of experiment. ``questions``: the first line of its
    documentation. ``figures``: the stems of its figures.
    """
    found = [
        (finding, name)
        for name, verdict in verdicts.items()
        for finding in verdict["claims"].values()
    ]
    found.sort(key=lambda pair: (_place(pair[0]["claim"]), pair[1]))
    rows = [
        f"| {finding['claim']} | {_cell(finding['passage'])} | {_cell(finding['outcome'])} "
        f"| [{name}](#{name}) |\n"
        for finding, name in found
    ]
    sections = [
        _section(name, verdicts[name], questions[name], figures[name]) for name in sorted(verdicts)
    ]
    return HEADER + "".join(rows) + "".join(sections)


def _place(claim: str) -> tuple[bool, int]:
    return claim[0] != "N", int(claim[1:])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _section(name: str, verdict: Mapping[str, Any], question: str, figures: Sequence[str]) -> str:
    made = verdict["provenance"]
    lines = [f"\n## {name}\n\n{question}\n"]
    for finding in sorted(verdict["claims"].values(), key=lambda each: _place(each["claim"])):
        lines.append(
            f"\n“{finding['passage']}” ({finding['claim']}) **{finding['outcome']}.** "
            f"{finding['why']}\n"
        )
    lines += [f"\n![{stem}](../figures/{stem}.png)\n" for stem in figures]
    lines.append(f"\nRun on {made['created_utc'][:10]}, from commit {made['git_commit'][:10]}.\n")
    return "".join(lines)


def collected(root: Path) -> str:
    """Return the page of the verdicts, questions and figures below a checkout's ``root``."""
    verdicts, questions, figures = {}, {}, {}
    for file in sorted((root / FIGURES).glob("*.json")):
        name = file.stem
        verdicts[name] = json.loads(file.read_text(encoding="utf-8"))
        source = (root / EXPERIMENTS / name / "__init__.py").read_text(encoding="utf-8")
        questions[name] = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
        figures[name] = sorted(path.stem for path in (root / FIGURES).glob(f"{name}*.png"))
    return gallery(verdicts, questions, figures)


def main(arguments: list[str] | None = None) -> None:
    """Write the page into the documentation of this checkout."""
    parser = argparse.ArgumentParser(prog="python -m slt_jax.report.gallery", description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE, help="file to write")
    out: Path = parser.parse_args(arguments).out
    with replace_file(out) as temporary:
        temporary.write_text(collected(Path()), encoding="utf-8")


if __name__ == "__main__":
    main()
