"""Who: organizations, their namespaces and their API keys."""
