"""The language models: which there are, what they take, and what follows them."""
