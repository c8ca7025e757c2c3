"""The wire, one file per noun: what a body may hold, and how a record is shown."""
