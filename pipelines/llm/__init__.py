"""Language models: one file per provider, and whose key is used at what price."""
