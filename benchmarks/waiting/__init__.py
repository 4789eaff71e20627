"""What waiting costs, in each way of waiting, on a whole Airflow."""
