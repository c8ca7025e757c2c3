"""Vectors: one interface over Qdrant's engine in process and over a Qdrant server."""
