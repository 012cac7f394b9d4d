"""Doing it, safely: agent loop, replay, model gateway, tools, hooks, sandbox."""
