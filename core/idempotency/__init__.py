"""Idempotency: one Idempotency-Key, one effect, one answer."""
