"""Webhooks: where customers listen, what they are told, and every try to tell them."""
