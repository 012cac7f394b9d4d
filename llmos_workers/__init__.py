"""llmos: natural-language goals on Celery, learned once and replayed from then on."""
