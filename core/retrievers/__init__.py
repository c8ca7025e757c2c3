"""Retrievers: stored pipelines of stages, their parameters, and the results of executing them."""
