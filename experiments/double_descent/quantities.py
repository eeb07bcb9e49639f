"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import NATS, ONE, TEXT, Quantity

ENDS = {"_low": "lower end of the 95 % interval of the ", "_high": "upper end of that of the "}


def _with_ends(name: str, long_name: str, units: str = ONE) -> dict[str, Quantity]:
    """Name a value and the ends of its interval."""
    ends = {f"{name}{end}": Quantity(f"{words}{long_name}", units) for end, words in ENDS.items()}
    return {name: Quantity(long_name, units), **ends}


QUANTITIES = {
    # Axes.
    "estimator": Quantity("estimator", TEXT),
    "family": Quantity("family of features", TEXT),
    "scale": Quantity("exponent s of the features' scale k^−s", ONE),
    "parameters": Quantity("number of features p", ONE),
    "target": Quantity("function that is learnt", TEXT),
    "noise": Quantity("standard deviation of the noise", ONE),
    "beta": Quantity("inverse temperature β", ONE),
    "cutoff": Quantity("relative cut-off of singular values", ONE),
    "net_parameters": Quantity("number of parameters of a net", ONE),
    "exact_scale": Quantity("exponent s of what is solved in extended precision", ONE),
    "end": Quantity("end of a range of s", TEXT),
    "sample_size": Quantity("number of data n", ONE),
    "shown_scale": Quantity("exponent s at which β is varied", ONE),
    "num_designs": Quantity("number of designs", ONE),
    # Errors.
    **_with_ends("test_error", "median expected test error, 1 being that of 0"),
    **_with_ends("tempered_error", "median expected test error of the posterior mean at β"),
    **_with_ends("double_precision_error", "median test error of monomials in double precision"),
    "exact_bound": Quantity("bound on the relative error of exact test errors", ONE),
    "resolved": Quantity("whether double precision holds minimum norm", ONE),
    # More parameters.
    **_with_ends("gain", "log₁₀ of the median error at the last p over the best p < n"),
    "gain_parameters": Quantity("last p that is known", ONE),
    **_with_ends("helping_scale", "exponent s from or to which the last p is the better one"),
    "helped_share": Quantity("share of resamples in which the last p is better at some s", ONE),
    # Evidence.
    **_with_ends("free_energy", "median of F_n, mean over noise, above that of the best p", NATS),
    **_with_ends("barrier", "median of F_n at p = n above the worse of both sides", NATS),
    **_with_ends("evidence_regret", "median error at the p of largest evidence over the least"),
    "evidence_parameters": Quantity("median p of the largest evidence", ONE),
    "evidence_parameters_quarter": Quantity("lower quartile of that p", ONE),
    "evidence_parameters_three_quarters": Quantity("upper quartile of that p", ONE),
    "evidence_scale": Quantity("median s of the largest evidence at the last p", ONE),
    "evidence_scale_quarter": Quantity("lower quartile of that s", ONE),
    "evidence_scale_three_quarters": Quantity("upper quartile of that s", ONE),
    "evidence_beyond": Quantity("share of data sets whose evidence is largest beyond p = n", ONE),
    "counted_directions": Quantity("half the number of directions that data determine", ONE),
    # Nets.
    **_with_ends("net_error", "median test error of nets"),
    **_with_ends("net_training_error", "median training error of nets"),
    "net_interpolating": Quantity("share of nets that interpolate", ONE),
}
