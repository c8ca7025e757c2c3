"""Language models: one file a provider's client, and whose key is used at what price."""
