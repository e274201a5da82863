"""Jobs that run in another service: each is POSTed to the feature that owns its queue."""
