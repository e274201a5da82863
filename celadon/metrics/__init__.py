"""Prometheus metrics: what is counted (`declared`), by which processes (`seats`), where it is read (`serving`).

Code counts through `celadon.telemetry` only, which tells of each event once: as a log line, a metric, and to Sentry.
"""
