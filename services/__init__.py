"""What the business does: plain functions without Celery, Flask or environment, which never submit jobs."""
