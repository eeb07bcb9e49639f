"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import NATS, ONE, TEXT, Quantity


def _with_relu(name: str, quantity: Quantity) -> dict[str, Quantity]:
    """Describe a quantity of the smooth nets, and the same of the ReLU net."""
    of_relu = Quantity(f"{quantity.long_name}, ReLU net", quantity.units)
    return {name: quantity, f"relu_{name}": of_relu}


QUANTITIES = {
    # Axes.
    "setting": Quantity("truth, and the units that learn it", TEXT),
    "activation": Quantity("smooth activation", TEXT),
    "net": Quantity("activation", TEXT),
    "sharpness": Quantity("sharpness k of the smooth activation", ONE),
    "set_sharpness": Quantity("sharpness k of the nets that learn data sets", ONE),
    "set_n": Quantity("sample size n of the data sets", ONE),
    "group": Quantity("group of data sets", ONE),
    "criterion": Quantity("quantity by which the nets are told apart", TEXT),
    "threshold": Quantity("difference from the ReLU net that tells them apart", ONE),
    # Curves.
    **_with_relu("population_free_energy", Quantity("−log ∫φ exp(−nK), without data", NATS)),
    **_with_relu("population_coefficient", Quantity("λ(n) = nE[K], without data", ONE)),
    **_with_relu("flat_mass", Quantity("posterior mass of |b_h| < 1/k for all h", ONE)),
    **_with_relu("normalised_free_energy", Quantity("free energy F_n − nL_n(w₀)", NATS)),
    **_with_relu("coefficient_of_set", Quantity("derivative of F_n − nL_n(w₀) in log n", ONE)),
    **_with_relu("scaled_bayes_excess", Quantity("nB_g, to leading order in 1/n", ONE)),
    "kink_asymptote": Quantity("leading order of F_n of one kink by a smooth unit", NATS),
    # n(k).
    "crossover_size": Quantity("n from which on the nets are told apart, without data", ONE),
    "set_crossover_size": Quantity("n from which on the nets are told apart, data sets", ONE),
    "return_size": Quantity("n at which half the mass of two units is flat", ONE),
}
