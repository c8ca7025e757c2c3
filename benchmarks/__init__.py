"""Measurements of Keystage, each a module whose `measure` returns figures. Nothing here is imported by the product."""
