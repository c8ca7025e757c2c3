"""Batches: a list of objects and the collections they go through, before and after they are submitted."""
