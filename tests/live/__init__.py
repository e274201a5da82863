"""Whole deployments, of real servers and real processes, as a user starts them."""
