"""Reservations in Airflow: who reserves, with which ledger, and what ends a reservation."""
