"""Delegated queues beside BullMQ 6, in one run: the same jobs, POSTed to the same service. `make bench-delegation`."""
