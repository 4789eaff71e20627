"""What the ledger costs, and how it holds under load."""
