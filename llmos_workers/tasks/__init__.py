"""The doors: Celery tasks that unpack a message, call the flow, and return an outcome as JSON."""

from llmos_workers.tasks.feedback import feedback
from llmos_workers.tasks.goals import goal, join, orchestrate, replay, think
from llmos_workers.tasks.upkeep import upkeep

__all__ = ["feedback", "goal", "join", "orchestrate", "replay", "think", "upkeep"]
