"""What we rely on a database for, and how it is held to that. Nothing here reads or writes what customers own."""
