r"""What all estimators share: fit, prediction and saved state."""
