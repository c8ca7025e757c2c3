"""What may be reached from here: one address policy for everything that calls the outside."""
