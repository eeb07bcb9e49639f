"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import NATS, ONE, PER_DATUM, TEXT, Quantity

QUANTITIES = {
    # The designed model.
    "offset": Quantity("loss offset ΔL of the coarse phase", PER_DATUM),
    "exact_n": Quantity("sample size n of the designed model", ONE),
    "level": Quantity("terms of the prediction", TEXT),
    "quantile": Quantity("quantile over data sets", ONE),
    "designed_advantage": Quantity("log Z of the accurate minus that of the coarse phase", NATS),
    "population_crossing": Quantity("log n at which it is zero", ONE),
    "designed_prediction": Quantity("predicted log n of equal masses", ONE),
    "predicted_slope": Quantity("predicted growth of the advantage per log n there", NATS),
    "predicted_spread": Quantity("predicted standard deviation of log n over data sets", ONE),
    "designed_mass": Quantity("posterior mass of the accurate phase", ONE),
    "designed_crossing": Quantity("log n of a data set's last crossing", ONE),
    "designed_bound": Quantity("largest bound on the error of a data set's advantage", NATS),
    # Phases of the toy model.
    "phase": Quantity("phase, by vertices of the hull and sign of the inner bias", TEXT),
    "polygon_loss": Quantity("loss L at the phase's polygon", PER_DATUM),
    "polygon_coefficient": Quantity("its local learning coefficient λ", ONE),
    "polygon_constant": Quantity("constant C of its local evidence", NATS),
    "vertices": Quantity("number of vertices of the convex hull of the columns", ONE),
    "log_prior_mass": Quantity("log prior mass of the region", NATS),
    # Paths.
    "route": Quantity("path: plain, or within the region of so many vertices", TEXT),
    "run": Quantity("independent run of a path", ONE),
    "data_set": Quantity("data set of the toy model", ONE),
    "least_ess": Quantity("least effective share of particles on the path", ONE),
    "phase_energy": Quantity("mean nL of particles at the last n", NATS),
    "seeded_energy": Quantity("mean nL of chains from the polygon at the last n", NATS),
    "log_evidence": Quantity("log Z of the phase, by route", NATS),
    "local_gap": Quantity("log Z of the phase minus its local evidence", NATS),
    "own_log_evidence": Quantity("log Z of the phase by run of its own route", NATS),
    "data_log_evidence": Quantity("log Z of the phase for a data set", NATS),
    "weights_ess": Quantity("effective number of particles that are weighed", ONE),
    "mass": Quantity("posterior mass of the phase in the population's posterior", ONE),
    "data_mass": Quantity("posterior mass of the phase for a data set", ONE),
    "fit_size": Quantity("n at which the constant is fitted", ONE),
    "num_runs": Quantity("number of independent runs of a path", ONE),
    # Transitions.
    "pair": Quantity("coarse → accurate phase", TEXT),
    "method": Quantity("prediction's constants", TEXT),
    "loss_gap": Quantity("loss of the coarse phase minus that of the accurate one", PER_DATUM),
    "coefficient_gap": Quantity("λ of the accurate phase minus that of the coarse one", ONE),
    "constant_gap": Quantity("constant of the prediction", NATS),
    "prediction": Quantity("predicted log n of equal masses", ONE),
    "expansion": Quantity("predicted advantage of the accurate phase", NATS),
    "advantage": Quantity("log Z of the accurate minus that of the coarse phase", NATS),
    "crossing": Quantity("log n of equal masses", ONE),
    "data_crossing": Quantity("log n of a data set's last crossing", ONE),
}
