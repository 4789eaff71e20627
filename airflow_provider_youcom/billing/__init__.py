"""You.com's billing API over HTTP. No Airflow."""
