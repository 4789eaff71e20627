"""How a fleet of runs spends one account, behind each kind of gate, on a whole Airflow."""
