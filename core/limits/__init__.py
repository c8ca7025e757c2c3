"""Limits: how often, and how much at once, a key and its organization may ask."""
