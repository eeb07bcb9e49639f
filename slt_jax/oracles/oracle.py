"""The exact answer: log Z of per-datum weights by collapse and quadrature, with an error bound."""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from slt_jax.data import in_doubles, real_weights
from slt_jax.model import FeatureRegression, Model
from slt_jax.oracles.adapted import adapted_blocks, is_adapted, is_costly
from slt_jax.oracles.collapse import total_weight, unit_gram
from slt_jax.oracles.cuts import Cut, cuts_of
from slt_jax.oracles.evaluation import Evaluation
from slt_jax.oracles.exact import Exact
from slt_jax.oracles.follow import followed
from slt_jax.oracles.interpolation import best_gain, node_errors
from slt_jax.oracles.latents import (
    RESOLUTIONS,
    Curvature,
    LatentRule,
    Resolution,
    coarser,
    latent_rule,
)
from slt_jax.oracles.moments import NodeBlock, NodeErrors, Points, RuleSums, node_blocks, rule_sums
from slt_jax.oracles.pieces import of_replicate, pieces_of, points_of, statistics_in_parts
from slt_jax.oracles.quadrature import UnsettledError
from slt_jax.oracles.structures import BoxLatent, Collapse, Latent, ProductLatent, Structure
from slt_jax.problem import Problem
from slt_jax.run.precision import in_float64
from slt_jax.shapes import datum_of
from slt_jax.statistics import Data, RegressionStatistics
from slt_jax.validation import refuse_first

ROUNDING = 1e-13
# Of what a fixed rule leaves out, relative to what it holds, and of nats by which two orders of it
# differ: more, and the posterior is followed to where the data put it.
LOG_LEFT_OUT, MOST_APART = math.log(1e-10), 0.02
# Nats of a bound on interpolation that is looked at more closely.
ROUGH = 1e-6
# Nats by which an answer may be off that is given all the same, with its bound.
HELD = 0.3
OUT_OF_REACH = "the data put the posterior beyond the reach of the exact rule"


class ExactMoments(NamedTuple):
    """Exact posterior quantities at one β, in total nats.

    ``normalised_free_energy`` F_n(β) − βnL_n(w₀); ``excess_energy`` E_β[nL_n] − nL_n(w₀);
    ``energy_variance`` Var_β[nL_n].
    """

    normalised_free_energy: Exact
    excess_energy: Exact
    energy_variance: Exact


class Oracle(NamedTuple):
    """Exact evidence of a problem whose model declares its structure; see ``oracle_for``.

    The value comes from a rule at ``refinement`` and the error bound from one of lower order on the
    same panels: errors fall geometrically with the order, so ten times the difference bounds
    the error of the finer. As a difference may happen to be small, the largest over the
    quantities and data sets of a call is taken, of rules in cells no less than three times the sum
    of those of all cells, and the rounding of the n-sized terms that cancel is added.

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["monomial_1_1"]
    >>> data = slt.simulate(problem, jax.random.key(0), n=100)
    >>> exact = slt.oracle_for(problem).moments(slt.statistics_of(problem, data))
    >>> f"{exact.normalised_free_energy.value:.4f}"  # F_n − nL_n(w₀)
    '0.9829'
    """

    problem: Problem
    model: Model
    structure: Structure
    refinement: int

    @in_float64
    def log_evidence(self, statistics: Any) -> Exact:
        """log Z(a) − Σ a_i ℓ_i(w₀) of weighted data, in total nats.

        ``statistics`` is the model's statistics of one weighted data set, or of R on a leading axis.
        Add ``statistics.reference`` for log Z(a) itself. Raises ValueError for NaN or infinite
        statistics.
        """
        exact = self.moments(statistics).normalised_free_energy
        return Exact(-exact.value, exact.error)

    @in_float64
    def moments(self, statistics: Any, beta: float = 1.0) -> ExactMoments:
        """F_n(β), E_β[nL_n] and Var_β[nL_n] of one data set or of R, relative to w₀.

        Raises ValueError for β < 0 or not finite, and for statistics that are not finite.
        """
        _validate_beta(beta)
        statistics = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), statistics)
        if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(statistics)):
            raise ValueError("the data statistics holds NaN or infinite statistics")
        if statistics.log_likelihood_at_optimum.ndim == 0:
            batch = self.moments(jax.tree.map(lambda leaf: leaf[None], statistics), beta)
            return ExactMoments(*(Exact(value[0], error[0]) for value, error in batch))
        count = len(statistics.log_likelihood_at_optimum)
        replicates = [[of_replicate(statistics, r)] for r in range(count)]
        return ExactMoments(*self._by_two_rules(replicates, beta).moments())

    @in_float64
    def evaluate(
        self,
        data: Data,
        beta: float = 1.0,
        points: Data | None = None,
        weights: np.ndarray | None = None,
    ) -> Evaluation:
        """Every exact quantity of one posterior, and of each point under it, relative to w₀.

        The posterior is that of ``data`` with the weights β·``weights`` (ones by default); the
        points are these data themselves, or others. ``training_criteria`` and
        ``generalisation_errors`` make the quantities of the theory out of it. Raises ValueError
        for data that ``validate_data`` refuses, for weights that are negative, not finite or not
        of shape [n], and for β < 0 or not finite.
        """
        _validate_beta(beta)
        data = Data(*map(jnp.asarray, in_doubles(self.problem, data)))
        weights = real_weights(weights, len(data.y))
        refuse_first("weights", weights, weights >= 0, "they must be ≥ 0")
        at = data if points is None else Data(*map(jnp.asarray, in_doubles(self.problem, points)))
        own = beta * weights if points is None else np.zeros(len(at.y))
        all_statistics = statistics_in_parts(self.problem, data, weights)
        return self._by_two_rules([all_statistics], beta, points_of(self.problem, at, own))

    @in_float64
    def num_nodes(self, statistics: Any, beta: float = 1.0) -> int:
        """How many values of the latent the integral of one data set is a sum over."""
        pieces, resolutions = self._pieces([statistics]), self._resolutions()[:1]
        (blocks,) = self._shared_rules([pieces], beta, resolutions) or adapted_blocks(
            self.structure, self.model, pieces, beta, resolutions
        )
        return sum(int(np.sum(np.isfinite(log_weights))) for _, log_weights, *_ in blocks)

    def _by_two_rules(
        self,
        all_statistics: Sequence[Sequence[Any]],
        beta: float,
        points: Points | None = None,
    ) -> Evaluation:
        """The evaluation of data sets, each given as statistics that add up."""
        pieces = [self._pieces(parts) for parts in all_statistics]
        shared = self._shared_rules(pieces, beta, self._resolutions())
        sums, group = [], []
        for parts, whole in zip(all_statistics, pieces, strict=True):
            fixed = self._by_fixed_rule(parts, whole, beta, shared, points)
            group.append(isinstance(fixed, list) and _is_settled(*fixed))
            sums.append(fixed if group[-1] else self._followed(parts, beta, points, fixed))
        fine, coarse = zip(*sums, strict=True)
        cancelling = np.array([sum(map(self._cancelling_size, parts)) for parts in all_statistics])
        log_likelihood_at_optimum = np.array(
            [sum(float(p.log_likelihood_at_optimum) for p in parts) for parts in all_statistics]
        )
        rounding = ROUNDING * (1.0 + beta * cancelling)
        return Evaluation.of(
            fine, coarse, rounding, log_likelihood_at_optimum, np.array(group), beta
        )

    def _resolutions(self) -> tuple[Resolution, Resolution]:
        resolution = RESOLUTIONS[self.refinement]
        return resolution, coarser(resolution)

    def _pieces(self, all_statistics: Sequence[Any], steepest: float | None = None) -> list[Any]:
        return [p for part in all_statistics for p in pieces_of(part, self.structure, steepest)]

    def _sums(
        self,
        pieces: Sequence[Any],
        beta: float,
        rules: Sequence[Iterable[NodeBlock]],
        points: Points | None,
        node_errors: NodeErrors | None,
        cuts: Sequence[Cut],
    ) -> list[RuleSums]:
        """The sums of one data set by each rule; the first looks beyond its cuts."""
        at = (self.structure, self.model, pieces, beta)
        fine, coarse = rules
        return [
            rule_sums(*at, fine, points, cuts, node_errors),
            rule_sums(*at, coarse, points),
        ]

    def _by_fixed_rule(
        self,
        all_statistics: Sequence[Any],
        pieces: Sequence[Any],
        beta: float,
        shared: Sequence[Iterable[NodeBlock]] | None,
        points: Points | None,
    ) -> list[RuleSums] | UnsettledError:
        """The sums by the rule that the prior suggests, or why there are none."""
        of_data = (self.structure, self.model, all_statistics, pieces, beta)
        cuts = cuts_of(self.structure.latent)
        if shared is None:
            at = (self.structure, self.model, pieces, beta)
            try:
                rules = adapted_blocks(*at, self._resolutions())
                return self._sums(pieces, beta, rules, points, node_errors(*of_data), cuts)
            except UnsettledError as error:
                return error
        if not shared:
            return UnsettledError("the optimum lies beyond it")
        rough = node_errors(*of_data, rough=True)
        sums = self._sums(pieces, beta, shared, points, rough, cuts)
        if not sums[0].doubt > ROUGH:
            return sums
        return self._sums(pieces, beta, shared, points, node_errors(*of_data), cuts)

    def _followed(
        self,
        all_statistics: Sequence[Any],
        beta: float,
        points: Points | None,
        fixed: list[RuleSums] | UnsettledError,
    ) -> list[RuleSums]:
        """The sums of a data set that puts its posterior beyond the fixed rule, or narrows it so
        much that this does not see it.

        They are those of the fixed rule where nothing better is found. Raises ValueError if that
        leaves out what no other follows.
        """
        log_beyond = float(fixed[0].log_left_out[0]) if isinstance(fixed, list) else 0.0
        pieces_at = functools.partial(self._pieces, all_statistics)
        at = (self.structure, self.model, pieces_at, beta)
        try:
            found = followed(*at, self._resolutions(), log_beyond)
        except UnsettledError as error:
            why = str(error)
        else:
            of_data = (self.structure, self.model, all_statistics, found.pieces, beta)
            errors = node_errors(*of_data, found.steepest)
            fine, coarse = self._sums(found.pieces, beta, found.rules, points, errors, cuts=())
            in_doubt = fine.doubt + found.in_doubt
            fine = fine._replace(log_left_out=found.log_left_out, doubt=in_doubt)
            if _is_held(fine, coarse):
                return [fine, coarse]
            apart = abs(fine.free_energy - coarse.free_energy)
            why = f"followed there, it is in doubt by {max(apart, in_doubt):.1g} nats"
            if fine.doubt > apart:
                why += ", as the likelihood is interpolated between too few nodes"
        if isinstance(fixed, list) and _is_held(*fixed):
            return fixed
        raise ValueError(f"{self.problem.name}: {OUT_OF_REACH}; {why}")

    def _shared_rules(
        self, replicates: Sequence[Sequence[Any]], beta: float, resolutions: Sequence[Resolution]
    ) -> list[list[NodeBlock]] | None:
        """A rule per resolution, in blocks, that all data sets share; None if each has its own.

        It is empty where no rule holds the optimum, and each data set is followed.
        """
        if is_adapted(self.structure.latent):
            return None
        try:
            return [node_blocks(self._rule(replicates, beta, each)) for each in resolutions]
        except UnsettledError:
            return []

    def _rule(
        self, replicates: Sequence[Sequence[Any]], beta: float, resolution: Resolution
    ) -> LatentRule:
        """The rule for the replicates' mean curvature, in steps of 2 % so that rules are reused."""
        structure, latent = self.structure, self.structure.latent
        targets, adapted = np.zeros(0), np.zeros(0)
        if not isinstance(structure, Collapse):
            assert isinstance(latent, BoxLatent)
            size = np.mean([sum(map(total_weight, pieces)) for pieces in replicates])
            alone = np.array([beta * size * latent.information])
            return _cached_rule(latent, Curvature(_in_steps(alone), ()), (), resolution)
        mean = np.mean([np.asarray(pieces[0].gram) for pieces in replicates], axis=0)
        gram = unit_gram(structure, _noise(self.model), beta, mean)
        alone = np.array([np.trace(gram)])
        if isinstance(latent, ProductLatent):
            last = slice(-len(latent.exponents), None)
            origin = np.asarray(replicates[0][0].optimum)
            targets = np.abs(origin)[last, 0] / structure.scale
            with_prior = gram + np.eye(len(gram))
            alone = np.diag(with_prior)[last]
            adapted = 1 / np.diag(np.linalg.inv(with_prior))[last]
        curvature = Curvature(_in_steps(alone), _in_steps(adapted))
        return _cached_rule(latent, curvature, tuple(targets.tolist()), resolution)

    def _cancelling_size(self, piece: Any) -> float:
        """Size of the terms in a log density that cancel, in total nats."""
        if not isinstance(piece, RegressionStatistics):
            return abs(float(piece.log_likelihood_at_optimum))
        assert isinstance(self.model, FeatureRegression)
        origin, gram, cross = map(np.asarray, (piece.optimum, piece.gram, piece.cross))
        size = np.sum(np.abs(origin) * (np.abs(gram @ origin) + np.abs(cross)))
        return float(size) / self.model.noise**2 + best_gain(self.model, piece)


def _noise(model: Model) -> float:
    assert isinstance(model, FeatureRegression)  # which ``oracle_for`` has seen to
    return model.noise


def _is_settled(fine: RuleSums, coarse: RuleSums) -> bool:
    """Whether a fixed rule holds the posterior and sees what there is of it."""
    # A likelihood that is NaN is refused later.
    return bool(
        fine.log_left_out[0] <= LOG_LEFT_OUT
        and not abs(fine.free_energy - coarse.free_energy) > MOST_APART
        and fine.doubt <= MOST_APART
    )


def _is_held(fine: RuleSums, coarse: RuleSums) -> bool:
    """Whether what a fixed rule leaves out and may be off by is small, if not as small as usual."""
    apart = abs(fine.free_energy - coarse.free_energy)
    return bool(fine.log_left_out[0] <= LOG_LEFT_OUT and apart <= HELD and fine.doubt <= HELD)


def _validate_beta(beta: float) -> None:
    if not (np.isfinite(beta) and beta >= 0):
        raise ValueError(f"beta = {beta}: must be finite and ≥ 0")


def _in_steps(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.exp(0.02 * np.round(np.log(values + 1e-3) / 0.02)).tolist())


@functools.lru_cache(maxsize=64)
def _cached_rule(
    latent: Latent, curvature: Curvature, targets: tuple[float, ...], resolution: Resolution
) -> LatentRule:
    return latent_rule(latent, curvature, targets, resolution)


def oracle_for(problem: Problem, refinement: int = 2, *, costly: bool = False) -> Oracle | None:
    """The oracle of a problem, or None if its model declares no exact structure.

    Some integrals in four dimensions take many seconds for each data set; their oracles are
    returned only with ``costly``. Raises ValueError for a refinement outside 1 … 3, and for a
    problem that ``shapes.datum_of`` refuses.

    >>> import slt_jax as slt
    >>> problems = slt.named_problems()
    >>> slt.oracle_for(problems["tanh_3"]).problem.name
    'tanh_3'
    >>> slt.oracle_for(problems["mixture_3"]) is None  # five parameters, none in closed form
    True
    """
    if refinement not in RESOLUTIONS:
        raise ValueError(f"refinement = {refinement}: must be 1 to {max(RESOLUTIONS)}")
    datum_of(problem)
    structure = problem.model.exact(problem.optimum)
    if structure is None:
        return None
    if isinstance(structure, Collapse) and not isinstance(problem.model, FeatureRegression):
        return None
    if is_costly(structure.latent) and not costly:
        return None
    return Oracle(problem, problem.model, structure, refinement)
