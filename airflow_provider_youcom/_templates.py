"""Distinguish a value that is known when a DAG is parsed from one that is not."""

from __future__ import annotations


def is_template(value: object) -> bool:
    """
    Return whether a value still has to be rendered.

    :param value: any value.
    """
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def is_reference(value: object) -> bool:
    """
    Return whether a value stands for another task's output, or for a parameter of the DAG.

    :param value: any value; Airflow's own references have a method ``resolve``.
    """
    return hasattr(value, "resolve")
