"""The folder of the runs that several files of tests look at."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the smoke runs of a session."""
    return tmp_path_factory.mktemp("runs")
