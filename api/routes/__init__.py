"""Handlers, one file per noun, each with its table of routes."""
