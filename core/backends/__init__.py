"""The parts that run apart from our own processes: which they are, and whether they answer."""
