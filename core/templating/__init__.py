"""Templates that customers write: Jinja2 cut down to plain values, within a budget."""
