"""A package, so that pytest stops the Airflow that these tests share when the last of them has run."""
