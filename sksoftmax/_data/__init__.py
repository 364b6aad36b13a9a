r"""Checks of what comes into fit and predict."""
