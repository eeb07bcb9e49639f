"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import ONE, PER_DATUM, TEXT, Quantity

QUANTITIES = {
    # Gaps.
    "kind": Quantity("slope changes of two units", TEXT),
    "gap": Quantity("gap between two breakpoints, inputs being from 0 to 1", ONE),
    "gap_coefficient": Quantity("λ(n) = nE[K] near two units", ONE),
    "kind_limit": Quantity("λ of two units without a gap", ONE),
    "level": Quantity("crossover", TEXT),
    "level_exponent": Quantity("p of n ~ gap^−p as derived", ONE),
    "crossing_size": Quantity("sample size n of the crossover", ONE),
    "crossing_size_error": Quantity("bound on the error of the logarithm of that n", ONE),
    "nearest_loss": Quantity("K of the nearest net without the gap", PER_DATUM),
    "translation_loss": Quantity("K after both breakpoints moved by 1/4", PER_DATUM),
    # Representations.
    "units": Quantity("hidden units H", ONE),
    "kinks": Quantity("kinks of the function, one less than its pieces", ONE),
    "way": Quantity("how surplus units are spent", TEXT),
    "sampled_way": Quantity("how surplus units are spent, where it is sampled", TEXT),
    "representation_limit": Quantity("local λ of a representation", ONE),
    "fibre": Quantity("dimension of the exact level set, less one scale for each unit", ONE),
    "nullity": Quantity("nullity of the Fisher matrix, less one scale for each unit", ONE),
    "sampled_n": Quantity("sample size n of the sampled λ(n)", ONE),
    "sampled_coefficient": Quantity("sampled λ(n) = nE[K]", ONE),
    "num_runs": Quantity("number of independent runs of a sampler", ONE),
    # Breakpoints.
    "case": Quantity("slope changes and gap of the truth", TEXT),
    "posterior_n": Quantity("number of data of the posterior", ONE),
    "bin": Quantity("first breakpoint, the middle of a bin", ONE),
    "bin_share": Quantity("posterior probability of a bin", ONE),
    "sampled_bin_share": Quantity("sampled posterior probability of a bin", ONE),
    "posterior_converged": Quantity("whether the runs converged", ONE),
    "posterior_reason": Quantity("reason for which they did not, empty if they did", TEXT),
}
