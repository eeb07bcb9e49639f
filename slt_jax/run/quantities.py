"""Long names and units of the variables of results, in one place.

A variable called x_error is the bound on the error of x, x_se its standard error and exact_x the
exact value of what x estimates; these follow from the entry of x. Nothing here enters a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import xarray as xr


NATS, PER_DATUM, ONE, TEXT = "nats", "nats per datum", "1", "text"


class Quantity(NamedTuple):
    """A phrase that says what a variable is, and its units."""

    long_name: str
    units: str


QUANTITIES: Mapping[str, Quantity] = {
    # Axes.
    "problem": Quantity("problem", TEXT),
    "n": Quantity("sample size n", ONE),
    "large_n": Quantity("sample size n on the fixed design", ONE),
    "replicate": Quantity("data set", ONE),
    "decade_from": Quantity("sample size n at which a decade begins", ONE),
    "prior_scale": Quantity("standard deviation of the prior of each parameter", ONE),
    "chain": Quantity("chain", ONE),
    "draw": Quantity("draw of a chain", ONE),
    "gamma": Quantity("localisation γ of the prior exp(−(γ/2)‖w − w*‖²)", ONE),
    "step_size": Quantity("step size of the sampler", ONE),
    # A problem and what is known of it.
    "title": Quantity("title for figures", TEXT),
    "learning_coefficient": Quantity("learning coefficient λ", ONE),
    "exact_learning_coefficient": Quantity("learning coefficient λ as a fraction", TEXT),
    "multiplicity": Quantity("multiplicity m, 0 where it is not known", ONE),
    "asymptote": Quantity("λ log n − (m−1) log log n", NATS),
    "own_prior_scale": Quantity("standard deviation of the problem's own prior", ONE),
    # Free energies: total nats, relative to the loss at the optimum where the name says so.
    "free_energy": Quantity("free energy F_n", NATS),
    "normalised_free_energy": Quantity("free energy F_n − nL_n(w₀)", NATS),
    "normalised_free_energy_ti": Quantity(
        "free energy F_n − nL_n(w₀) by thermodynamic integration", NATS
    ),
    "normalised_fixed_design_free_energy": Quantity(
        "free energy F_n − nL_n(w₀) of data sets of one design", NATS
    ),
    "wbic": Quantity("WBIC, E[nL_n] at β = 1/log n", NATS),
    "normalised_wbic": Quantity("WBIC − nL_n(w₀)", NATS),
    "normalised_bic": Quantity("BIC − nL_n(w₀), (d/2) log n and the loss at the mode", NATS),
    "excess_energy": Quantity("posterior mean of nL_n(w) − nL_n(w₀) at β = 1", NATS),
    "energy_at_optimum": Quantity("loss nL_n(w₀) at the optimum", NATS),
    "evidence_integral": Quantity("integral of the evidence over data sets of size 2", ONE),
    "increment_gap": Quantity(
        "growth of the exact F_n from n to 10n minus that of its asymptote", NATS
    ),
    "prequential_gap": Quantity(
        "difference of the cumulative Bayes loss of 8 data from their F_n", NATS
    ),
    # Learning coefficients.
    "lambda_wbic": Quantity("λ̂ from WBIC, β E[nL_n − nL_n(w₀)] at β = 1/log n", ONE),
    "lambda_energy_variance": Quantity("λ̂ from the variance of the energy, β² Var[nL_n]", ONE),
    "lambda_two_temperatures": Quantity("λ̂ from mean energies at two temperatures", ONE),
    "local_learning_coefficient": Quantity("local learning coefficient λ̂(w*)", ONE),
    "extrapolated": Quantity("λ̂(w*) without the bias of the step", ONE),
    "checkpoint": Quantity("checkpoint", ONE),
    "gamma_low": Quantity("least γ over which λ̂ was averaged", ONE),
    "gamma_high": Quantity("largest γ over which λ̂ was averaged", ONE),
    "loss": Quantity("loss at w*", PER_DATUM),
    "gradient": Quantity("norm of the gradient of the loss at w*", PER_DATUM),
    "fall": Quantity("largest fall of βnL_n below w*", ONE),
    "is_minimum": Quantity("whether w* is a minimum", ONE),
    "within_chains": Quantity("standard error from within chains", ONE),
    "between_chains": Quantity("standard error from between chains", ONE),
    "localisation": Quantity("half the range of λ̂ over γ", ONE),
    "descent": Quantity("fall of βnL_n near w*, as an error", ONE),
    # Losses per datum, and the functional variance, which is a sum.
    "bayes_generalisation_loss": Quantity("Bayes generalisation loss", PER_DATUM),
    "gibbs_generalisation_loss": Quantity("Gibbs generalisation loss", PER_DATUM),
    "bayes_training_loss": Quantity("Bayes training loss", PER_DATUM),
    "gibbs_training_loss": Quantity("Gibbs training loss", PER_DATUM),
    "leave_one_out_loss": Quantity("leave-one-out loss", PER_DATUM),
    "waic": Quantity("WAIC", PER_DATUM),
    "bayes_generalisation_error": Quantity("Bayes generalisation error, minus L(w₀)", PER_DATUM),
    "gibbs_generalisation_error": Quantity("Gibbs generalisation error, minus L(w₀)", PER_DATUM),
    "bayes_training_error": Quantity("Bayes training error, minus L_n(w₀)", PER_DATUM),
    "gibbs_training_error": Quantity("Gibbs training error, minus L_n(w₀)", PER_DATUM),
    "functional_variance": Quantity("functional variance V_n, summed over data", "nats^2"),
    "control": Quantity("control variate LOO(zⁿ) − B_g(zⁿ⁻¹), of mean zero", PER_DATUM),
    # Runs of samplers.
    "acceptance": Quantity("least mean acceptance probability along a path or of a chain", ONE),
    "nested_r_hat": Quantity("nested R̂ of independent runs", ONE),
    "r_hat": Quantity("R̂ of chains", ONE),
    "num_temperatures": Quantity("temperatures of a run, mean over seeds", ONE),
    "reason": Quantity("reason for which a run did not converge, empty if it did", TEXT),
    "converged": Quantity("whether the runs converged", ONE),
    "distance": Quantity("root of the mean square distance from w*", ONE),
    "lowest_energy": Quantity("least nL_n − nL_n(w*) of all draws", NATS),
    "num_divergent": Quantity("number of chains that diverged", ONE),
    "settled": Quantity("whether chains have settled", ONE),
    "drift_p_value": Quantity("p-value of the difference between the halves of chains", ONE),
    "discretisation": Quantity("size of the bias of the step", ONE),
    "step_bias": Quantity("bias of the step in its standard errors", ONE),
    "reliable": Quantity("whether chains have settled and the bias of the step is small", ONE),
}

NO_OTHERS: Mapping[str, Quantity] = {}


def quantity_of(name: str, own: Mapping[str, Quantity] = NO_OTHERS) -> Quantity | None:
    """Return what a variable of that name is, or None where neither table has it.

    ``own`` are quantities of one experiment, which take precedence.

    >>> quantity_of("exact_normalised_wbic_error")
    Quantity(long_name='bound on the error of the exact WBIC − nL_n(w₀)', units='nats')
    """
    if known := own.get(name) or QUANTITIES.get(name):
        return known
    for ending, meaning in (("_error", "bound on the error of"), ("_se", "standard error of")):
        if name.endswith(ending) and (base := quantity_of(name.removesuffix(ending), own)):
            return base._replace(long_name=f"{meaning} the {base.long_name}")
    if name.startswith("exact_") and (base := quantity_of(name.removeprefix("exact_"), own)):
        return base._replace(long_name=f"exact {base.long_name}")
    return None


def labelled(dataset: xr.Dataset, own: Mapping[str, Quantity] = NO_OTHERS) -> xr.Dataset:
    """Return the dataset with ``long_name`` and ``units`` at every variable that is known.

    Those that a variable has already stay. ``own`` are quantities of one experiment.

    >>> import xarray as xr
    >>> labelled(xr.Dataset({"waic": 1.2}))["waic"].attrs
    {'long_name': 'WAIC', 'units': 'nats per datum'}
    """
    result = dataset.copy()
    for name in result.variables:
        if quantity := quantity_of(str(name), own):
            result[name].attrs = quantity._asdict() | result[name].attrs
    return result
