"""What waiting costs, and what it survives; measured on a whole Airflow."""
