"""The error of a training run."""


class SolverError(ValueError):
    """A solver that cannot start, go on or be restored; one line that names the file or field and the remedy."""
