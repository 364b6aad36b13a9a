r"""Exact solvers of the convex problem of softmax regression."""
