"""What gates and reservations survive: minutes of random trouble on a whole Airflow."""
