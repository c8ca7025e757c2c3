"""Turns texts into vectors: one protocol, one file per kind of model, one registry."""
