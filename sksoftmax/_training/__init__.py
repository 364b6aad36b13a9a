r"""The training engine: a skorch net and what it trains by."""
