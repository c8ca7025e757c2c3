"""Handlers, a noun a file, each with its table of routes."""
