"""Turns an object of a bucket into documents: one file per extractor, one registry."""
