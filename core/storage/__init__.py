"""Drivers and handles: the only way to MongoDB, Redis, blobs and vectors. Knows no business rule."""
