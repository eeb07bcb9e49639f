"""Information criteria on the scale of the free energy."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slt_jax.estimators.chains import mean_over_chains
from slt_jax.estimators.estimate import Basis, Estimate, Loss, Reference
from slt_jax.theory import Theory
from slt_jax.validation import Above, Count, Number, check, check_kind, checked, real_array


def bic(excess_energy_at_mode: ArrayLike, dimension: int, n: ArrayLike) -> NDArray[np.float64]:
    """Return BIC/2 relative to w₀: nL_n(ŵ) − nL_n(w₀) + (d/2) log n, in total nats.

    ŵ is the posterior mode: the likelihood of a singular model may have no maximiser. Raises
    ValueError for d < 1 or n < 1 (Schwarz, Annals of Statistics 6, 1978).

    >>> round(float(bic(-1.5, dimension=3, n=100)), 3)
    5.408
    """
    check("dimension", dimension, Count)
    n = real_array("n", n)
    if np.any(~(n >= 1)):
        raise ValueError(f"n = {n.min()}: BIC needs n ≥ 1")
    energy = real_array("excess_energy_at_mode", excess_energy_at_mode)
    return np.asarray(energy + dimension / 2 * np.log(n))


def wbic(
    energies: ArrayLike, n: float, reference: Reference | None = "w0", loss: Loss = "full"
) -> Estimate:
    """Estimate WBIC = E_w[nL_n] at β = 1/log n, relative to nL_n at the ``reference``, total nats.

    ``energies`` [..., chain, draw] are nL_n(w) minus that, of draws at that β. Raises ValueError
    for n ≤ e, where β would not be below 1, and for fewer than 4 draws.

    Source: Watanabe, A widely applicable Bayesian information criterion, Journal of Machine
    Learning Research 14 (2013).

    >>> float(wbic([[1.0, 3.0, 2.0, 2.0], [2.0, 1.0, 3.0, 2.0]], n=100).value)
    2.0
    """
    n = checked("n", n, Number)
    check("reference", reference, Reference | None)
    check("loss", loss, Loss)
    if not n > np.e:
        raise ValueError(f"n = {n}: β = 1/log n must be below 1, so n must be ≥ 3")
    return mean_over_chains(energies, Basis(float(n), float(1 / np.log(n)), reference, loss))


def sbic(
    energy_at_optimum: ArrayLike,
    theories: Mapping[tuple[int, int], Theory],
    n: float,
    prior: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return sBIC of I models as free energies −log x_i [I], total nats relative to one reference.

    The x_i solve

        Σ_{j ⪯ i} (x_i − L_ij) x_j P_j = 0,
        log L_ij = −nL_n(ŵ_i) − λ_ij log n + (m_ij − 1) log log n

    with the unique positive solution. ``energy_at_optimum`` [I] are nL_n(ŵ_i) at the
    maximum-likelihood estimate of model i; ``theories`` hold (λ_ij, m_ij) of model i where the
    truth is generic in its submodel j, for every j ⪯ i by the key (i, j), with submodels before
    the models that they lie in; ``prior`` [I] weighs the models, equally unless given. A single
    regular model has its BIC/2. Raises ValueError for n ≤ 1, energies that are not finite, weights
    that are not positive and keys that are missing or out of order.

    Source: Drton & Plummer, A Bayesian information criterion for singular models, Journal of the
    Royal Statistical Society B 79 (2017).

    >>> from slt_jax.theory import regular
    >>> sbic([-1.5], {(0, 0): regular(3)}, 100).round(3).tolist()
    [5.408]
    """
    n = checked("n", n, Annotated[float, Above(1)])
    energies = real_array("energy_at_optimum", energy_at_optimum)
    weights = np.ones(energies.size) if prior is None else real_array("prior", prior)
    for pair, theory in theories.items():
        check_kind(f"theories[{pair}]", theory, Theory, "a Theory")
    if energies.ndim != 1 or not np.isfinite(energies).all():
        raise ValueError(f"energies {energies.tolist()}: allowed is [model], all finite")
    if weights.shape != energies.shape or not np.all(weights > 0):
        raise ValueError(f"prior = {weights.tolist()}: must be positive, one weight for a model")
    missing = [i for i in range(energies.size) if (i, i) not in theories]
    wrong = [key for key in theories if not 0 <= key[1] <= key[0] < energies.size]
    if missing or wrong:
        raise ValueError(
            f"theories lack the pairs {[(i, i) for i in missing]} and hold {wrong}; allowed are "
            f"(i, j) with 0 <= j <= i < {energies.size}, and all (i, i)"
        )
    criteria = np.empty(energies.size)
    for i, energy in enumerate(energies):
        submodels = [j for j in range(i) if (i, j) in theories]
        costs = {j: float(theories[i, j].free_energy_asymptote(n)) for j in [*submodels, i]}
        # In units of the largest term, so that nothing of a few thousand nats underflows.
        unit = min([energy + min(costs.values()), *criteria[submodels]])
        own = np.exp(unit - energy - costs[i])
        known = np.exp(unit - criteria[submodels]) * weights[submodels] / weights[i]
        others = np.exp([unit - energy - costs[j] for j in submodels])
        half, product = (own - known.sum()) / 2, known @ others
        root = np.sqrt(half**2 + product)
        # The other form of the root where this one would cancel.
        criteria[i] = unit - np.log(root + half if half > 0 else product / (root - half))
    return criteria
