"""OPERATORS: the `keystage` command, and the embedded stack that it can start."""
