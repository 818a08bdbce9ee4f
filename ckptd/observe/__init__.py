"""Metrics, logs, reports."""
