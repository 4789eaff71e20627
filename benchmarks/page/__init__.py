"""What the credits page costs, and what it does to Airflow's API server when its ledger hangs."""
