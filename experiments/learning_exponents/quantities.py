"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import NATS, ONE, PER_DATUM, TEXT, Quantity

QUANTITIES = {
    # Location families.
    "curve": Quantity("location family", TEXT),
    "bayes": Quantity("expected Bayes generalisation error, minus L(w₀)", PER_DATUM),
    "gibbs": Quantity("expected Gibbs generalisation error, minus L(w₀)", PER_DATUM),
    "variance": Quantity("expected tr Var_w m of the mean m(w) of the datum", ONE),
    "bayes_over_gibbs": Quantity("expected Bayes error divided by the Gibbs error", ONE),
    "gibbs_limit": Quantity("cn^−σ of the theory, to which the Gibbs error tends", PER_DATUM),
    "measured_n": Quantity("sample size n of a measured curve", ONE),
    "measured": Quantity("Gibbs generalisation error, mean over measured data sets", PER_DATUM),
    "exponent": Quantity("exponent σ of the theory", ONE),
    "amplitude": Quantity("amplitude c of the theory, times n^σ", PER_DATUM),
    "optimal_loss": Quantity("loss L(w₀) at the optimum", PER_DATUM),
    "entropy": Quantity("loss of the truth itself", PER_DATUM),
    # Power-law spectra.
    "factor": Quantity("factor in which a spectrum differs from the first", TEXT),
    "spectrum_n": Quantity("sample size n of the spectra", ONE),
    "spectrum_middle": Quantity("geometric middle of neighbouring n of the spectra", ONE),
    "width": Quantity("number of directions", ONE),
    "factor_bayes": Quantity("expected Bayes generalisation error of a spectrum", PER_DATUM),
    "factor_gibbs": Quantity("expected Gibbs generalisation error of a spectrum", PER_DATUM),
    "factor_exponent": Quantity("exponent σ before the data see all directions", ONE),
    "width_gibbs": Quantity("expected Gibbs generalisation error of a width", PER_DATUM),
    "width_exponent": Quantity("exponent σ before the data see all directions", ONE),
    "width_local_exponent": Quantity("exponent σ between neighbouring n", ONE),
    "design_n": Quantity("sample size n on random inputs", ONE),
    "design_gibbs": Quantity("Gibbs generalisation error on random inputs", PER_DATUM),
    "design_closed": Quantity("Gibbs generalisation error of independent directions", PER_DATUM),
    # Nets.
    "net": Quantity("problem", TEXT),
    "large_middle": Quantity("geometric middle of neighbouring n on the fixed design", ONE),
    "large_between": Quantity("geometric middle of neighbouring middles", ONE),
    "scaled_bayes_error": Quantity("dF_n/d log n, which is n times the Bayes error", NATS),
    "net_local_exponent": Quantity("exponent σ of the mean Bayes error between middles", ONE),
}
