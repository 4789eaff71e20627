"""Measure what waiting costs and what it survives, on a whole Airflow."""
