"""Recognize values that are not known when the DAG is parsed."""

from __future__ import annotations


def is_template(value: object) -> bool:
    """Return whether a value is a template that has not been rendered."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def is_reference(value: object) -> bool:
    """
    Return whether a value refers to another task's output or to a DAG parameter.

    :param value: any value; Airflow's references have a ``resolve`` method.
    """
    return hasattr(value, "resolve")
