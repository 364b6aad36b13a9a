r"""Arrays, devices, files, processes: what knows nothing of classifiers."""
