"""The doors: Celery tasks that unpack a message, call the flow, and return an outcome as JSON."""

from llmos_workers.tasks.feedback import feedback
from llmos_workers.tasks.goals import goal, replay, think
from llmos_workers.tasks.upkeep import upkeep

__all__ = ["feedback", "goal", "replay", "think", "upkeep"]
