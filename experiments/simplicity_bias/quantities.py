"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import ONE, PER_DATUM, TEXT, Quantity

BITS = "bits"

QUANTITIES = {
    # Priors over Boolean functions.
    "map": Quantity("parameter–function map", TEXT),
    "complexity": Quantity("Lempel–Ziv complexity K", BITS),
    "bit": Quantity("whole bits of −log₂ P", BITS),
    "function_count": Quantity("number of resolved functions", ONE),
    "best_probability": Quantity("probability of the likeliest function", ONE),
    "best_low": Quantity("lower end of its 95 % interval", ONE),
    "best_high": Quantity("upper end of its 95 % interval", ONE),
    "best_least": Quantity("lower end of its interval of 5 standard errors", ONE),
    "best_most": Quantity("upper end of its interval of 5 standard errors", ONE),
    "draw_share": Quantity("share of the draws of a repeat", ONE),
    "resolved_share": Quantity("share of the draws of a repeat with resolved functions", ONE),
    "best_by_repeat": Quantity("probability of the likeliest function in a repeat", ONE),
    "occupied": Quantity("whether a repeat has a resolved function there", ONE),
    "constant_share": Quantity("probability of the function 0 in a repeat", ONE),
    "exact_constant": Quantity("exact probability of the function 0", ONE),
    "distinct": Quantity("number of different functions that were drawn", ONE),
    "max_complexity": Quantity("largest complexity that was drawn", BITS),
    "bound_slope": Quantity("predicted slope a of the bound", ONE),
    "outputs": Quantity("set of functions that the map can reach", TEXT),
    "log_outputs": Quantity("log₂ of the number of functions of the map", BITS),
    "draws": Quantity("draws of each prior", ONE),
    "draws_of_repeat": Quantity("draws of a repeat", ONE),
    "min_count": Quantity("draws from which on a function is resolved", ONE),
    # Volumes.
    "target": Quantity("map and function", TEXT),
    "volume_n": Quantity("n of the volume V(1/n)", ONE),
    "log_size": Quantity("log₁₀ n", ONE),
    "bits": Quantity("−log₂ V(1/n) by splitting", BITS),
    "exact_bits": Quantity("−log₂ V(1/n)", BITS),
    "growth": Quantity("growth of −log₂ V for each of the last doublings of n", BITS),
    "far_growth": Quantity("exact growth of −log₂ V for each doubling of n", BITS),
    "volume_runs": Quantity("independent runs of splitting", ONE),
    # Digits.
    "width": Quantity("number of hidden units", ONE),
    "label": Quantity("labels", TEXT),
    "training": Quantity("training", ONE),
    "train_error": Quantity("share of the digits learnt from that a net gets wrong", ONE),
    "test_error": Quantity("share of the test's digits that a net gets wrong", ONE),
    "train_loss": Quantity("loss above that of the best outputs", PER_DATUM),
    "lambda_hat": Quantity("λ̂ over the range of γ in which it has one value", ONE),
    "lambda_by_gamma": Quantity("λ̂ at the longest step that is accepted", ONE),
    "settled_by_gamma": Quantity("whether its chains have settled", ONE),
    "num_weights": Quantity("number of weights", ONE),
    "train_size": Quantity("number of digits to learn from", ONE),
}
