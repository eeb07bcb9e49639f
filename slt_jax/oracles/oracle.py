"""The exact answer: log Z of per-datum weights by collapse and quadrature, with an error bound."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from slt_jax.data import in_doubles, real_weights
from slt_jax.model import FeatureRegression, Model
from slt_jax.oracles.evaluation import Evaluation, Exact
from slt_jax.oracles.integration import Rules, integrated
from slt_jax.oracles.interpolation import best_gain
from slt_jax.oracles.laws.law import RESOLUTIONS, Resolution
from slt_jax.oracles.moments import Posterior
from slt_jax.oracles.quadrature import UnsettledError
from slt_jax.oracles.shards import Points, of_replicate, points_of, statistics_in_parts
from slt_jax.oracles.structures import Collapse, Structure
from slt_jax.problem import Problem, check_problem
from slt_jax.run.precision import in_float64
from slt_jax.shapes import check_statistics, datum_of
from slt_jax.statistics import Data, RegressionStatistics
from slt_jax.validation import (
    NonNegative,
    Within,
    check,
    check_kind,
    checked,
    real_array,
    refuse_first,
)

ROUNDING = 1e-13


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
    structure: Structure[Any]
    refinement: int

    @in_float64
    def log_evidence(self, statistics: Any) -> Exact:
        """log Z(a) − Σ a_i ℓ_i(w₀) of weighted data, in total nats.

        ``statistics`` are the model's of one weighted data set, or of R on a leading axis. Add
        ``statistics.log_likelihood_at_optimum`` for log Z(a) itself. Raises ValueError for NaN or
        infinite statistics.
        """
        exact = self.moments(statistics).normalised_free_energy
        return Exact(-exact.value, exact.error)

    @in_float64
    def moments(self, statistics: Any, beta: float = 1.0) -> ExactMoments:
        """F_n(β), E_β[nL_n] and Var_β[nL_n] of one data set or of R, relative to w₀.

        Raises ValueError for β < 0 or not finite, and for statistics that are not finite.
        """
        beta = checked("beta", beta, NonNegative)
        check_statistics(self.problem, statistics)
        statistics = jax.tree.map(lambda leaf: real_array("statistics", leaf), statistics)
        if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(statistics)):
            raise ValueError("the statistics of the data are NaN or infinite")
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
        beta = checked("beta", beta, NonNegative)
        data = Data(*map(jnp.asarray, in_doubles(self.problem, data, least=1)))
        weights = real_weights(weights, len(data.y))
        refuse_first("weights", weights, weights >= 0, "they must be ≥ 0")
        at = data
        if points is not None:
            at = Data(*map(jnp.asarray, in_doubles(self.problem, points, "points", least=1)))
        own = beta * weights if points is None else np.zeros(len(at.y))
        all_statistics = statistics_in_parts(self.problem, data, weights)
        return self._by_two_rules([all_statistics], beta, points_of(self.problem, at, own))

    @in_float64
    def num_nodes(self, statistics: Any, beta: float = 1.0) -> int:
        """The number of values of the latent that the integral of one data set is a sum over."""
        posterior = self._posterior([statistics], beta)
        blocks, *_ = self.structure.law.rules([posterior], self._resolutions()[:1])
        return sum(int(np.sum(np.isfinite(block.log_weights))) for block in blocks)

    def _by_two_rules(
        self,
        all_statistics: Sequence[Sequence[Any]],
        beta: float,
        points: Points | None = None,
    ) -> Evaluation:
        """The evaluation of data sets, each given as statistics that add up."""
        posteriors = [self._posterior(parts, beta) for parts in all_statistics]
        resolutions, shared = self._resolutions(), self._shared_rules(posteriors)
        try:
            answers = [
                integrated(posterior, shared, resolutions, points) for posterior in posteriors
            ]
        except UnsettledError as error:
            raise ValueError(f"{self.problem.name}: {error}") from None
        sums, group = zip(*answers, strict=True)
        fine, coarse = zip(*sums, strict=True)
        cancelling = np.array([sum(map(self._cancelling_size, parts)) for parts in all_statistics])
        log_likelihood_at_optimum = np.array(
            [sum(float(p.log_likelihood_at_optimum) for p in parts) for parts in all_statistics]
        )
        rounding = ROUNDING * (1.0 + beta * cancelling)
        return Evaluation.of(
            fine, coarse, rounding, log_likelihood_at_optimum, np.array(group), beta
        )

    def _posterior(self, statistics: Sequence[Any], beta: float) -> Posterior:
        return Posterior.of(self.structure, self.model, statistics, beta)

    def _resolutions(self) -> tuple[Resolution, Resolution]:
        resolution = RESOLUTIONS[self.refinement]
        return resolution, resolution.coarser()

    def _shared_rules(self, posteriors: Sequence[Posterior]) -> Rules | None:
        """A rule per resolution, in blocks, that all data sets share; None if each has its own.

        It is empty where no rule holds the optimum, and each data set is followed.
        """
        law = self.structure.law
        if law.is_data_dependent:
            return None
        try:
            return law.rules(posteriors, self._resolutions())
        except UnsettledError:
            return []

    def _cancelling_size(self, statistics: Any) -> float:
        """Size of the terms in a log density that cancel, in total nats."""
        if not isinstance(statistics, RegressionStatistics):
            return abs(float(statistics.log_likelihood_at_optimum))
        assert isinstance(self.model, FeatureRegression)
        optimum, gram, cross = map(
            np.asarray, (statistics.optimum, statistics.gram, statistics.cross)
        )
        size = np.sum(np.abs(optimum) * (np.abs(gram @ optimum) + np.abs(cross)))
        return float(size) / self.model.noise**2 + best_gain(self.model, statistics)


def check_oracle(oracle: Any) -> None:
    """Refuse anything but an oracle, and None, which a problem without one has."""
    check_kind("oracle", oracle, Oracle, "an Oracle, as oracle_for(problem) where that is not None")


def oracle_for(problem: Problem, refinement: int = 2, *, costly: bool = False) -> Oracle | None:
    """The oracle of a problem, or None if its model declares no exact structure.

    Some integrals in four dimensions take many seconds for each data set; their oracles are
    returned only with ``costly``. Raises ValueError for a refinement outside 1 … 3, for a problem
    without an optimum, and for one that ``shapes.datum_of`` refuses.

    >>> import slt_jax as slt
    >>> problems = slt.named_problems()
    >>> slt.oracle_for(problems["tanh_3"]).problem.name
    'tanh_3'
    >>> slt.oracle_for(problems["mixture_3"]) is None  # five parameters, none in closed form
    True
    """
    check_problem(problem)
    check("refinement", refinement, Annotated[int, Within(1, max(RESOLUTIONS))])
    problem.check_optimum()
    if problem.model.knows_shapes:
        datum_of(problem)
    structure = problem.model.exact(problem.optimum)
    if structure is None:
        return None
    if isinstance(structure, Collapse) and not isinstance(problem.model, FeatureRegression):
        return None
    if structure.law.is_costly and not costly:
        return None
    return Oracle(problem, problem.model, structure, refinement)
