"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import ONE, TEXT, Quantity

QUANTITIES = {
    # Cells.
    "model_class": Quantity("model class", TEXT),
    "other_class": Quantity("the model class that it is compared with", TEXT),
    "target": Quantity("target function", TEXT),
    "origin": Quantity("simple function, or the class from whose prior it was drawn", TEXT),
    "coefficient": Quantity("λ(n) = dE[F_n − nL_n(w₀)]/d log n", ONE),
    "relative_coefficient": Quantity("λ(n) over the largest that counts in its class", ONE),
    "counted": Quantity("true where the cell enters comparisons", ONE),
    "effective_draws": Quantity("least effective number of draws, NaN where exact", ONE),
    "approximation_error": Quantity("root mean square distance of target and class", ONE),
    "allowed_error": Quantity("largest distance that is allowed", ONE),
    "limit": Quantity("λ by theorem, NaN where the target is not in the class", ONE),
    "limit_is_constant": Quantity("true where λ is one number for all targets", ONE),
    # Nets of one unit.
    "net": Quantity("class of nets", TEXT),
    "one_unit": Quantity("λ(n) of a net of one unit, for the same noises", ONE),
    # Pairs of classes.
    "rank_correlation": Quantity("Spearman's ρ of λ(n) between classes", ONE),
    "rank_correlation_low": Quantity("lower end of its 95 % interval", ONE),
    "rank_correlation_high": Quantity("upper end of its 95 % interval", ONE),
    "num_common": Quantity("number of targets that count in both classes", ONE),
    "explained_after": Quantity("variance explained by a monotone map fitted afterwards", ONE),
    "explained_ahead": Quantity("variance explained by maps fitted to other targets", ONE),
    "relative_difference": Quantity("root mean square difference of relative λ(n)", ONE),
    "reversal": Quantity("smaller difference of λ(n) of the clearest reversal", ONE),
    "reversal_p_value": Quantity("its p-value, over all pairs of targets", ONE),
    "reversal_above": Quantity("the target with larger λ(n) in the first class only", TEXT),
    "reversal_below": Quantity("the target with larger λ(n) in the other class only", TEXT),
    "limit_rank_correlation": Quantity("Spearman's ρ of λ between classes", ONE),
    "limit_common": Quantity("number of targets whose λ is known in both classes", ONE),
    "limit_reversal": Quantity("smaller difference of λ of the clearest reversal", ONE),
    "limit_reversal_above": Quantity("the target with larger λ in the first class only", TEXT),
    "limit_reversal_below": Quantity("the target with larger λ in the other class only", TEXT),
}
