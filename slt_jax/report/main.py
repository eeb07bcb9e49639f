"""The command line that all experiments share: configuration → study → verdict → figure.

An experiment is a package with ``Config`` and ``PRESETS``, a module ``study`` with ``tasks`` and
``assemble``, and modules ``verdict`` and ``figure`` with a function of that name. Variables that it
alone has get their long names and units in a module ``quantities``. What needs JAX is
imported when a run begins, so that help and refusals are quick.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slt_jax.run.config import ExperimentConfig, Stopped, Worker, command_line, parse
from slt_jax.run.stopping import Terminated, raise_on_termination

if TYPE_CHECKING:
    import xarray as xr

    from slt_jax.report.verdict import Verdict
    from slt_jax.run.quantities import Quantity
    from slt_jax.run.sweep import Task

POLL_SECONDS = 0.5
COMPILATIONS = "compilations"
# The name under which the wheel brings the experiments, and the command that it brings for them.
INSTALLED, SCRIPT = "slt_jax_experiments", "slt-jax"


def invocation(package: str) -> str:
    """The command that starts the experiment of a package: a module, or the wheel's script."""
    parent, _, name = package.rpartition(".")
    return f"{SCRIPT} {name}" if parent == INSTALLED else f"python -m {package}"


def main(package: str) -> None:
    """Parse the command line into a configuration and run the experiment; exits the process.

    ``--preset NAME`` picks the defaults, every other flag overrides one field. A ValueError or
    OSError becomes one line on standard error and exit status 2, a signal status 128 + its
    number; a worker that has done its share, while others have not, ends with status 0.
    """
    with raise_on_termination():
        _main(package)


def _main(package: str) -> None:
    experiment: Any = importlib.import_module(package)
    description = experiment.__doc__.strip()
    try:
        config = parse(invocation(package), description, experiment.PRESETS, sys.argv[1:])
        run(package, config)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.status)
    except KeyboardInterrupt as interrupt:
        print("interrupted; no result was written, tasks on disk are kept", file=sys.stderr)
        number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
        sys.exit(128 + number)


def run(package: str, config: ExperimentConfig) -> Verdict:
    """Compute the tasks of a configuration, print the verdict, and write what the run found.

    Raises ValueError for a configuration that the study refuses, OSError where a folder cannot be
    written, and ``Stopped`` where results have to wait for other processes.
    """
    from slt_jax.run import hosts
    from slt_jax.run.compilation import CompilationCounter
    from slt_jax.run.devices import use_all_cores

    use_all_cores()
    hosts.join(config.coordinator, config.num_processes, config.process_id)
    study, judge, drawing = (
        importlib.import_module(f"{package}.{part}") for part in ("study", "verdict", "figure")
    )
    tasks = study.tasks(config)
    name = package.rpartition(".")[2]
    out = config.out or default_folder(name, config, importlib.import_module(package).PRESETS)
    folder = Path(str(study.__file__)).parent
    with CompilationCounter() as compiled:
        results = compute(name, config, tasks, out, folder)
    dataset = study.assemble(config, results)
    dataset.attrs[COMPILATIONS] = dict(compiled.counts)
    verdict: Verdict = judge.verdict(dataset)
    print(f"{verdict.statement}\n\n{verdict.table}")
    publish(package, config, out, dataset, verdict, drawing.figure(dataset, verdict))
    return verdict


def quantities_of(package: str) -> Mapping[str, Quantity]:
    """Long names and units that an experiment adds, in its module ``quantities`` if it has one."""
    module = f"{package}.quantities"
    if importlib.util.find_spec(module) is None:
        return {}
    own: Mapping[str, Quantity] = importlib.import_module(module).QUANTITIES
    return own


def default_folder(
    name: str, config: ExperimentConfig, presets: Mapping[str, ExperimentConfig]
) -> Path:
    """The folder of a configuration, one for each, so that none is in another's way."""
    from slt_jax.run.provenance import config_hash

    changed = config.identity != presets[config.preset].identity
    suffix = f"-{config_hash(config.identity)[:6]}" if changed else ""
    return Path("results") / name / f"{config.preset}{suffix}"


def compute(
    name: str, config: ExperimentConfig, tasks: Sequence[Task], out: Path, source: Path
) -> dict[str, xr.Dataset]:
    """The datasets of all tasks: saved in ``out`` as they finish, resumed, shared out.

    ``source`` is the experiment's own folder, whose code is part of what the saved tasks belong to,
    as is that of problems from elsewhere.
    Raises what ``RunStore`` and ``run_tasks`` raise; of processes that were joined, all but the
    first end in Unfinished when all tasks are saved.
    """
    from slt_jax.models import source_files
    from slt_jax.run import hosts, provenance, store
    from slt_jax.run.run_store import RunStore
    from slt_jax.run.sweep import Unfinished, run_tasks

    for folder in (out, config.figures_dir):
        if folder is not None:
            store.prepare_folder(folder)
    worker = Worker.parse(config.worker)
    if hosts.are_joined():
        if worker.count > 1:
            raise ValueError(f"worker {config.worker}: joined processes share out the work alone")
        worker = hosts.worker()
    code = provenance.fingerprint(source, source_files(config.problem_specs))
    with RunStore(out, config.identity, code, worker, config.restart) as run_store:
        if hosts.are_joined():
            with contextlib.suppress(Unfinished):
                run_tasks(tasks, run_store, name)
            while not all(run_store.holds(task.name) for task in tasks):
                time.sleep(POLL_SECONDS)
            if worker.index > 0:
                raise Unfinished(f"process {worker.index} is done; process 0 writes the results")
        return run_tasks(tasks, run_store, name)


def publish(
    package: str,
    config: ExperimentConfig,
    out: Path,
    dataset: xr.Dataset,
    verdict: Verdict,
    figures: Mapping[str, Any],
) -> None:
    """Write dataset, verdict and ``figures`` by their file names, with what made them.

    The dataset says the question, the claims, the command and the provenance of the run, and of
    every variable what it is. The verdict and the figures go to the configuration's ``figures_dir``
    too. Raises OSError where a folder cannot be written.
    """
    from slt_jax.report import plotting
    from slt_jax.run import provenance, store
    from slt_jax.run.quantities import labelled

    name = package.rpartition(".")[2]
    experiment: Any = importlib.import_module(package)
    command = command_line(invocation(package), experiment.PRESETS, config)
    made_by = {**provenance.provenance(config), "command": command}
    described = labelled(dataset, quantities_of(package)).assign_attrs(
        title=experiment.__doc__.splitlines()[0],
        claims="\n".join(f"{finding.claim}: {finding.passage}" for finding in verdict.findings),
        **made_by,
    )
    store.write_dataset(described, out / f"{name}.nc")
    places = [place for place in (out, config.figures_dir) if place is not None]
    for place in places:
        store.write_json({**verdict.as_json(), "provenance": made_by}, place / f"{name}.json")
    for stem, figure in figures.items():
        plotting.save_figure(figure, stem, *places)
    what = "figure" if len(figures) == 1 else "figures"
    print(f"written to {out}: {name}.nc, .json and {what}", file=sys.stderr)
