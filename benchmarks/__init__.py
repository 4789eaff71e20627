"""Measure what the provider costs and what it survives: a folder for each subject, and the last results."""
