"""The operator's day: organizations, jobs, deliveries and credits, without a database shell."""
