"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import NATS, ONE, PER_DATUM, TEXT, Quantity

QUANTITIES = {
    # Axes.
    "family": Quantity("family of competing models", TEXT),
    "cell": Quantity("pair of noise and n", ONE),
    "noise": Quantity("standard deviation of the noise over the truth's root mean square", ONE),
    "sample_size": Quantity("sample size n", ONE),
    "criterion": Quantity("criterion computed from the training data", TEXT),
    "reference": Quantity("order of models that rankings by criteria are held to", TEXT),
    "run_reference": Quantity("order of models that rankings by runs are held to", TEXT),
    "protocol": Quantity("test loss that runs are ranked by: their mean, best or validated", TEXT),
    "source": Quantity("what a run is: an end of SGD or a draw of the posterior", TEXT),
    "run_count": Quantity("number of runs s", ONE),
    "test_size": Quantity("size of the test set T", ONE),
    # Agreement.
    "tau": Quantity("Kendall's τ-b of a criterion and a reference", ONE),
    "run_tau": Quantity("Kendall's τ-b of test losses of s runs and a reference", ONE),
    "regret": Quantity("n times the excess of G_g of the model chosen over the least", NATS),
    "run_regret": Quantity("the same of the model chosen by test losses of s runs", NATS),
    "ties": Quantity("share of pairs of models that tie", ONE),
    "num_diverged": Quantity("number of SGD runs of all models that diverged", ONE),
    "scatter": Quantity("standard deviation of the true loss over runs", PER_DATUM),
    # The case in which the best run misleads.
    "luck_protocol": Quantity("test loss that runs are ranked by", TEXT),
    "luck_model": Quantity("model whose runs are draws of its posterior", TEXT),
    "luck_test": Quantity("size of the test set T", ONE),
    "luck_run": Quantity("number of runs s", ONE),
    "misled": Quantity("share of data sets on which the worse model looks better", ONE),
    "log_crossing": Quantity("log₁₀ of the s from which the best run is to mislead", ONE),
    "luck_gibbs": Quantity("G_g, mean over data sets", PER_DATUM),
    "luck_scatter": Quantity("part of G_g that is scatter over runs", PER_DATUM),
    "luck_score": Quantity("mean test loss reported, minus that of the truth", PER_DATUM),
}
