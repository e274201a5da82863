"""Ours against stock Celery, in one run, one command each: `make bench-submit`, `bench-outage`, `bench-memory`,
`bench-throughput`. Each ends with `name=value` lines and fails where its bar is missed. See docs/benchmarks.md."""
