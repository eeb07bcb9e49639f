"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import NATS, ONE, TEXT, Quantity

QUANTITIES = {
    # Endpoints beside posteriors.
    "setting": Quantity("setting of SGD", TEXT),
    "endpoint_n": Quantity("sample size n of the data sets of the endpoints", ONE),
    "beta": Quantity("inverse temperature β of the likeliest posterior", ONE),
    "prior_width": Quantity("prior width s of the likeliest posterior", ONE),
    "predicted_beta": Quantity("β of small steps for white inputs, 2b/nη", ONE),
    "at_edge": Quantity("whether the likeliest posterior is at the edge of those tried", ONE),
    "diverged": Quantity("share of runs that diverged", ONE),
    "coefficient": Quantity("energy coefficient, endpoints against the likeliest posterior", ONE),
    "own_coefficient": Quantity(
        "energy coefficient, endpoints against the posterior at β = 1", ONE
    ),
    "floor": Quantity("energy coefficient of two halves of posterior draws", ONE),
    "accuracy": Quantity("balanced accuracy of the classifier, ½ for equal laws", ONE),
    "floor_accuracy": Quantity("balanced accuracy on two halves of posterior draws", ONE),
    "least_p": Quantity("least p-value that the permutations allow", ONE),
    "energy_p": Quantity("p-value of the energy distance", ONE),
    "classifier_p": Quantity("p-value of the classifier", ONE),
    "exact_beta": Quantity("β of the posterior that is likeliest under exact moments", ONE),
    "exact_prior_width": Quantity("prior width that is likeliest under exact moments", ONE),
    "exact_divergence": Quantity("KL of SGD from that posterior, from exact moments", NATS),
    "growth": Quantity("rate at which SGD leaves w = 0, per step, exact", ONE),
    "at_zero": Quantity("share of endpoints with |w₁w₂|√n below 1/1000", ONE),
    "own_at_zero": Quantity("share of posterior draws at β = 1 with |w₁w₂|√n below 1/1000", ONE),
    # Learning curves.
    "sgd_error": Quantity("n(E[L(w)] − L(w₀)) of SGD", NATS),
    "sgd_exact_error": Quantity("n(E[L(w)] − L(w₀)) of SGD from exact moments", NATS),
    "gibbs_error": Quantity("n times the exact Gibbs generalisation error", NATS),
    "bayes_error": Quantity("n times the exact Bayes generalisation error", NATS),
    "curve_diverged": Quantity("share of runs that diverged and are left out", ONE),
    "sgd_excess": Quantity("n times the error of SGD minus that of Gibbs", NATS),
    # Exact distances of linear regression.
    "design": Quantity("standard deviations of the inputs", TEXT),
    "exact_n": Quantity("sample size n of the exact distances", ONE),
    "divergence": Quantity("KL of SGD from the best posterior, from exact moments", NATS),
    "divergence_limit": Quantity("its limit as n → ∞", NATS),
    # Boolean functions.
    "target": Quantity("function to be learned", TEXT),
    "net_setting": Quantity("setting of the net's training", TEXT),
    "completion": Quantity("number of a function that has all labels", ONE),
    "truth_table": Quantity("its values at all inputs", TEXT),
    "trained_count": Quantity("trainings that found the function", ONE),
    "drawn_count": Quantity("draws of the prior that are the function", ONE),
    "unfinished": Quantity("trainings that were given up", ONE),
    "mean_steps": Quantity("mean number of steps", ONE),
    "right_at_start": Quantity("share of trainings that had all labels right at the start", ONE),
    "accepted": Quantity("share of prior draws that have all labels right", ONE),
    "correlation": Quantity("correlation of log P_SGD and log P_Bayes", ONE),
    "correlation_low": Quantity("least value in its 95 % interval", ONE),
    "correlation_high": Quantity("largest value in its 95 % interval", ONE),
    "slope": Quantity("slope of log P_SGD on log P_Bayes", ONE),
    "slope_low": Quantity("least value in its 95 % interval", ONE),
    "slope_high": Quantity("largest value in its 95 % interval", ONE),
    "within_two": Quantity("share of functions with P_SGD/P_Bayes from ½ to 2", ONE),
    "total_variation": Quantity("total variation between P_SGD and P_Bayes", ONE),
    "total_variation_floor": Quantity("its mean for equal laws and as many draws", ONE),
    "p_value": Quantity("p-value of equal laws by the χ² test", ONE),
    "num_functions": Quantity("functions that the correlation is over", ONE),
}
