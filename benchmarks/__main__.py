"""Command line: run the benchmarks, print one table, write JSON, document and figures."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from benchmarks import figure, machine, report
from slt_jax.report import plotting
from slt_jax.run import store
from slt_jax.run.devices import use_all_cores

ROOT = Path(__file__).parents[1]
ELSEWHERE = Path("results") / "benchmarks"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for; only a whole run takes the place of the committed files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names_help = f"some of {', '.join(report.BENCHMARKS)}"
    out_help = (
        "folder that gets benchmarks/, docs/ and figures/; by default the checkout's for a whole "
        f"run, else {ELSEWHERE}"
    )
    parser.add_argument(
        "--only", nargs="+", choices=report.BENCHMARKS, metavar="NAME", help=names_help
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see whether it runs")
    parser.add_argument("--out", type=Path, help=out_help)
    options = parser.parse_args(arguments)
    names = options.only or list(report.BENCHMARKS)
    partial = options.quick or options.only
    out = options.out or (ELSEWHERE if partial else ROOT)
    try:
        folders = [store.prepare_folder(out / name) for name in ("benchmarks", "docs", "figures")]
    except OSError as error:
        parser.exit(2, f"error: {error}\n")
    use_all_cores()
    described = machine.describe({"only": names, "quick": options.quick})
    start = time.perf_counter()
    timings = {}
    for name in (name for name in report.BENCHMARKS if name in names):
        print(f"{name} …", file=sys.stderr, flush=True)
        timings[name] = report.BENCHMARKS[name].measure(options.quick)
    results = {
        "machine": {**described, "quick": options.quick},
        "minutes": (time.perf_counter() - start) / 60,
        "benchmarks": timings,
    }
    store.write_json(results, folders[0] / "results.json")
    with store.replace_file(folders[1] / "benchmarks.md") as temporary:
        temporary.write_text(report.markdown(results), "utf-8")
    for name, drawn in figure.draw(timings).items():
        plotting.save_figure(drawn, name, folders[2])
    print(report.text(results))


if __name__ == "__main__":
    # A kept compilation would make a cold start look warm.
    jax.config.update("jax_enable_compilation_cache", False)
    main()
