"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import NATS, ONE, TEXT, Quantity

NORMALISED = "free energy F_n − nL_n(w₀)"

QUANTITIES = {
    # Six truths.
    "truth": Quantity("true function", TEXT),
    "between_n": Quantity("geometric middle of neighbouring n on the fixed design", ONE),
    "fixed_design_normalised_free_energy": Quantity(f"{NORMALISED} on one design", NATS),
    "product_normalised_free_energy": Quantity(
        f"expected {NORMALISED} of products on orthonormal features", NATS
    ),
    "power_normalised_free_energy": Quantity(
        f"expected {NORMALISED} of powers on orthonormal features", NATS
    ),
    "route_gap": Quantity("largest difference of F_n by two routes", NATS),
    "route_bound": Quantity("what the bounds of both routes allow them to differ", NATS),
    "fixed_design_slope": Quantity("dF_n/d log n on one design, mean over data sets", NATS),
    "power_slope": Quantity("dF_n/d log n of powers", NATS),
    "power_learning_coefficient": Quantity("learning coefficient λ of powers", ONE),
    "exact_power_learning_coefficient": Quantity("λ of powers as a fraction", TEXT),
    "local_size": Quantity("sample size n of the local learning coefficients", ONE),
    "large_n_local_learning_coefficient": Quantity(
        "exact local learning coefficient without noise in the data", ONE
    ),
    "sgld_acceptance": Quantity("acceptance that MALA would have at SGLD's steps", ONE),
    # One datum.
    "datum_noise": Quantity("standard deviation of the noise of the datum (1, 1)", ONE),
    "route": Quantity("way in which a mass was computed", TEXT),
    "function": Quantity("function that another is near", TEXT),
    "radius": Quantity("distance in L²(q) within which a function is near", ONE),
    "posterior_mass": Quantity("posterior mass near a function", ONE),
    "posterior_mass_error": Quantity(
        "bound on the error of the exact posterior mass, standard error of sampled ones", ONE
    ),
    "posterior_mass_reason": Quantity("reason for which a route did not converge", TEXT),
    "posterior_mass_converged": Quantity("whether a route converged", ONE),
    "density_at_one": Quantity("prior density of a coefficient at 1", ONE),
    "density_near_zero": Quantity("mean prior density of a coefficient within the radius", ONE),
    "mass_from_densities": Quantity("posterior mass in the ratios of the densities", ONE),
    "least_distance": Quantity("least distance of two functions in L²(q)", ONE),
    "datum_learning_coefficient": Quantity("learning coefficient λ given one datum", ONE),
    "exact_datum_learning_coefficient": Quantity("λ given one datum as a fraction", TEXT),
    # Growing degrees.
    "degree": Quantity("degree of the polynomial", ONE),
    "noise": Quantity("standard deviation of the noise", ONE),
    "pattern": Quantity("order of the numbers of factors", TEXT),
    "scaled_replicate": Quantity("data set of a degree", ONE),
    "degrees_per_datum": Quantity("degree divided by n", ONE),
    "points": Quantity("sample size n of a degree", ONE),
    "prediction_error": Quantity("∫(E[f] − x)² divided by ∫x²", ONE),
    "scaled_converged": Quantity("whether R̂ of the log-likelihood is at most 1.2", ONE),
    "sampled_mean": Quantity("sampled posterior mean at the one datum", ONE),
    "exact_mean": Quantity("exact posterior mean at the one datum", ONE),
    "nats_per_factor": Quantity("cost of a coefficient of size 1 for each factor", NATS),
    "threshold_noise": Quantity("noise below which the truth x is learnt at large degrees", ONE),
}
