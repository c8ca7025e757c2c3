"""Buckets and the objects in them: what customers bring, before any extractor has seen it."""
