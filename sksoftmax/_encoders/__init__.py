r"""Encoders of categories and of neighbors."""
