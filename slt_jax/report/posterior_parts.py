"""The parts of a posterior's figure, apart from what draws it, which takes long to import."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class TemperedEnergies(NamedTuple):
    """β(E_β[nL_n] − nL_n(w₀)) in nats at inverse temperatures ``beta``, with ``half_width``."""

    beta: Floats
    value: Floats
    half_width: Floats


class Predictions(NamedTuple):
    """Predictions at increasing scalar inputs ``x`` [N], and the data (x, y) [n] seen."""

    x: Floats
    predicted: xr.Dataset
    seen: tuple[Floats, Floats]
