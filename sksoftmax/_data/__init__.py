r"""Validation of the arguments of fit and predict."""
