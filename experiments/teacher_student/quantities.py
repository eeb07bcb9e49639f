"""Long names and units of the variables that this experiment alone has."""

from slt_jax.run.quantities import ONE, TEXT, Quantity

QUANTITIES = {
    "family": Quantity("family of nets", TEXT),
    "teacher": Quantity("number of units H₀ of the teacher", ONE),
    "student": Quantity("number of units H of the student", ONE),
    "source": Quantity("source of λ, empty where it is unknown", TEXT),
    "largest_coefficient": Quantity("largest λ that a teacher of the student has", ONE),
    "relative_coefficient": Quantity("λ over the largest of the student", ONE),
    "cell": Quantity("family, widths and spacing of a teacher and student", TEXT),
    "cell_family": Quantity("family of the cell", TEXT),
    "cell_teacher": Quantity("number of units H₀ of the cell's teacher", ONE),
    "cell_student": Quantity("number of units H of the cell's student", ONE),
    "cell_spacing": Quantity("spacing s of the units of the cell's teacher", ONE),
    "is_sampled": Quantity("whether free energies of the cell are sampled", ONE),
    "converged_share": Quantity("share of data sets whose runs converged", ONE),
    "noise": Quantity("standard deviation of the noise", ONE),
}
