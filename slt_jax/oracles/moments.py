"""Sums over the nodes of a rule, streamed in blocks of one size through one compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.compilations import jit_at_first_call
from slt_jax.model import Collapse, FeatureRegression, FeatureSummary
from slt_jax.oracles.collapse import block_statistics, log_block_evidence
from slt_jax.oracles.latents import LatentRule

BLOCK = 2048


def rule_moments(
    collapse: Collapse,
    model: FeatureRegression,
    summaries: FeatureSummary,
    beta: float,
    rule: LatentRule,
) -> np.ndarray:
    """F(β), E_β and Var_β of R data sets by one rule, shape [R, 3], total nats relative to w₀.

    With ψ(w) the collapsed log density at a latent node, F = −log Σ e^ψ, E = −⟨ψ'⟩ and
    Var = ⟨ψ''⟩ + Var(ψ'), derivatives in β. Neither the number of nodes nor R is a shape of the
    compiled program, so that a rule may have any size and memory stays bounded.
    """
    count = -(-len(rule.log_weights) // BLOCK) * BLOCK - len(rule.log_weights)
    nodes = np.pad(rule.nodes, ((0, count), (0, 0)), mode="edge")
    log_weights = np.pad(rule.log_weights, (0, count), constant_values=-np.inf)
    blocks = [
        (jnp.asarray(nodes[start : start + BLOCK]), jnp.asarray(log_weights[start : start + BLOCK]))
        for start in range(0, len(nodes), BLOCK)
    ]
    exponent = jnp.float64(beta)
    host = jax.tree.map(np.asarray, summaries)
    sums = []
    for replicate in range(len(host.reference)):
        one = jax.tree.map(lambda leaf, r=replicate: jnp.asarray(leaf[r]), host)
        sums.append(
            [compiled_block_sums(collapse, model, one, exponent, *block) for block in blocks]
        )
    peak, mass, slope, curvature, spread = np.moveaxis(np.array(sums, float), -1, 0)
    highest = peak.max(axis=1, keepdims=True)
    weight = np.exp(peak - highest) * mass
    total = weight.sum(axis=1, keepdims=True)
    share = weight / total
    mean = np.sum(share * slope, axis=1, keepdims=True)
    variance = np.sum(share * (curvature + spread + (slope - mean) ** 2), axis=1)
    free_energy = -(highest + np.log(total))[:, 0]
    return np.column_stack([free_energy, -mean[:, 0], variance])


def block_sums(
    collapse: Collapse,
    model: FeatureRegression,
    summary: FeatureSummary,
    beta: Array,
    nodes: Array,
    log_weights: Array,
) -> Array:
    """Of one block and data set: max ψ, Σ e^{ψ − max}, mean ψ', mean ψ'' and variance of ψ'."""

    def at_node(node: Array) -> tuple[Array, Array, Array]:
        statistics = block_statistics(collapse, model.noise, node, summary)

        def log_density(b: Array) -> Array:
            return log_block_evidence(statistics, b)

        def slope(b: Array) -> tuple[Array, Array]:
            return jax.jvp(log_density, (b,), (jnp.ones_like(b),))

        (value, first), (_, second) = jax.jvp(slope, (beta,), (jnp.ones_like(beta),))
        return value, first, second

    value, first, second = jax.vmap(at_node)(nodes)
    log_terms = value + log_weights
    peak = jnp.max(log_terms)
    terms = jnp.exp(log_terms - peak)
    mass = jnp.sum(terms)
    mean = terms @ first / mass
    spread = terms @ (first - mean) ** 2 / mass
    return jnp.stack([peak, mass, mean, terms @ second / mass, spread])


compiled_block_sums = jit_at_first_call(block_sums, static_argnums=(0, 1))
