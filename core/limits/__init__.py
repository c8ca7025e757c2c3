"""How much a caller may ask for: rates, work under way, and failed authentications."""
