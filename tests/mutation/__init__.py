"""Removes one guard at a time and sees whether a test notices. Outside `make test`: it would double its time."""
