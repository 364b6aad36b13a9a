r"""Arrays, devices, files and processes: helpers that know no classifier."""
