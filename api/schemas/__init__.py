"""The wire, a noun a file: what a body may hold, and how a record is shown."""
