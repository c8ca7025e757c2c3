"""SETTINGS: typed settings and logging. Imports nothing of ours."""
