"""Turns an object of a bucket into documents: an extractor reads its files, and cuts their texts into pieces."""
