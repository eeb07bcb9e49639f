"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import ONE, TEXT, Quantity

QUANTITIES = {
    # Masses.
    "landscape": Quantity("loss in the plane", TEXT),
    "radius": Quantity("distance from the crossing in the largest coordinate", ONE),
    "share": Quantity("share of the posterior mass", ONE),
    "posterior_mass": Quantity("posterior mass within the radius of the crossing", ONE),
    "route_gap": Quantity("largest difference of closed form and quadrature over bounds", ONE),
    "limiting_mass": Quantity("posterior mass within the last radius, to leading order in n", ONE),
    "log_size": Quantity("log₁₀ n", ONE),
    "far_mass": Quantity("posterior mass within the last radius, to leading order in n", ONE),
    "log_share_size": Quantity("log₁₀ of the n at which the share is reached", ONE),
    "valley_learning_coefficient": Quantity("λ on a valley, NaN where it is no minimum", ONE),
    "valley_learning_coefficient_fraction": Quantity("λ on a valley as a fraction", TEXT),
    "valley_multiplicity": Quantity("m on a valley, 0 where it is no minimum", ONE),
    "crossing_learning_coefficient": Quantity("λ at the crossing", ONE),
    "crossing_learning_coefficient_fraction": Quantity("λ at the crossing as a fraction", TEXT),
    "crossing_multiplicity": Quantity("m at the crossing", ONE),
    "codimension": Quantity("codimension of the second valley of x²|v|²", ONE),
    "codimension_mass": Quantity("posterior mass of x²|v|² within the last radius", ONE),
    "ten_dimensional": Quantity("loss in ten dimensions", TEXT),
    "ten_dimensional_mass": Quantity("posterior mass within the last radius, ten dimensions", ONE),
    # Samples.
    "sampled_landscape": Quantity("loss that is sampled", TEXT),
    "sampler": Quantity("sampler", TEXT),
    "sampled_n": Quantity("sample size n of the sampled posterior", ONE),
    "sampled_mass": Quantity("sampled posterior mass within the last radius", ONE),
    "num_runs": Quantity("number of independent runs of a sampler", ONE),
    # Leaving.
    "leaving": Quantity("loss whose crossing is left", TEXT),
    "exit_n": Quantity("sample size n of the random walk that leaves", ONE),
    "exit_time": Quantity("mean time to leave the crossing over r²", ONE),
    "exit_unfinished": Quantity("number of walks that did not leave", ONE),
    "exit_closed_form": Quantity("closed form of the time to leave over r², in equilibrium", ONE),
    "equilibrium_exit_time": Quantity("the same at the n of the exact answers", ONE),
    # λ(n).
    "crossing": Quantity("loss near a crossing", TEXT),
    "place": Quantity("crossing or valley", TEXT),
    "local_coefficient": Quantity("λ(n) = nE[K] in a box", ONE),
    "local_limit": Quantity("its limit λ", ONE),
    "local_limit_fraction": Quantity("its limit λ as a fraction", TEXT),
    "local_multiplicity": Quantity("multiplicity m", ONE),
    "orders_above_one": Quantity("m − 1 from λ(n) at the last two n", ONE),
    "dimension": Quantity("number of parameters", ONE),
    "direction_coefficient": Quantity("λ of one regular direction", ONE),
}
