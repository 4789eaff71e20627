"""When a large run gets its turn among many small ones, on a whole Airflow."""
