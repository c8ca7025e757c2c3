"""Turns an object of a bucket into documents: one file an extractor, one registry."""
