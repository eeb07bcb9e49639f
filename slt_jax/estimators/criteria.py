"""Information criteria on the scale of the free energy."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def bic(excess_energy_at_mode: ArrayLike, dimension: int, n: ArrayLike) -> NDArray[np.float64]:
    """BIC/2 relative to w₀: nL_n(ŵ) − nL_n(w₀) + (d/2) log n, in total nats.

    ŵ is the posterior mode: the likelihood of a singular model may have no maximiser. Raises
    ValueError for d < 1 or n < 1 (Schwarz, Annals of Statistics 6, 1978).
    """
    if dimension < 1:
        raise ValueError(f"dimension = {dimension}: must be ≥ 1")
    n = np.asarray(n, float)
    if np.any(~(n >= 1)):
        raise ValueError(f"n = {n.min()}: BIC needs n ≥ 1")
    return np.asarray(np.asarray(excess_energy_at_mode, float) + dimension / 2 * np.log(n))
