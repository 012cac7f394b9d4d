"""The doors: Celery tasks that unpack, call a layer and return."""
