"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import ONE, PER_DATUM, TEXT, Quantity

QUANTITIES = {
    "expected_n": Quantity("sample size n of the expectation over all data sets", ONE),
    "expected_bayes": Quantity("expected Bayes generalisation error, minus L(w₀)", PER_DATUM),
    "expected_gibbs": Quantity("expected Gibbs generalisation error, minus L(w₀)", PER_DATUM),
    "expected_variance": Quantity("expected tr Var_w m of the mean m(w) of the datum", ONE),
    "regular_fluctuation": Quantity("singular fluctuation ν of the regular theory at w₀", ONE),
    "kind": Quantity("how much of the theory holds", TEXT),
}
