"""Collections: what an extractor makes of objects, and the documents that came out."""
