r"""The estimators whose models are neural nets."""
