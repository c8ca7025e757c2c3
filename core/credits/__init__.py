"""Credits: what work costs, and the append-only ledger of holds and captures."""
