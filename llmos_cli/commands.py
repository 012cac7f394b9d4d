"""All commands, without loading any: where each is, and its line in ``llmos --help``."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A command of the first level."""

    where: str
    """module:attribute, within llmos_cli."""
    help: str
    """The first sentence of its help."""


SECTIONS: dict[str, dict[str, Entry]] = {
    "Goals": {
        "submit": Entry("submit:submit", "Hand a GOAL in plain words to the workers and watch it."),
        "status": Entry(
            "goals:status", "Tell where goal ID is: state, mode and why, worker, result."
        ),
        "watch": Entry(
            "goals:watch", "Join goal ID from its first event on and follow it to its end."
        ),
        "result": Entry("goals:result", "Print the outcome of goal ID."),
        "list": Entry("goals:list_goals", "List goals, newest first."),
        "cancel": Entry("goals:cancel", "Stop goal ID."),
        "explain": Entry("explain:explain", "Tell how GOAL would run, and why."),
        "plan": Entry("plan:plan", "Show into which parts GOAL would be split."),
        "interactive": Entry(
            "interactive:interactive", "Ask for goals one by one and show what comes of each."
        ),
    },
    "People's word": {
        "approvals": Entry(
            "approvals:approvals", "Show the calls that wait for a person's yes or no."
        ),
        "approve": Entry(
            "approvals:approve", "Allow the call of request ID, once; its goal goes on."
        ),
        "deny": Entry(
            "approvals:deny", "Forbid the call of request ID; its goal goes on without it."
        ),
        "feedback": Entry(
            "feedback:feedback", "Say whether goal ID was done as it was meant: good or bad."
        ),
        "judge": Entry(
            "judge:judge", "See how the models did that judge new wordings of known goals."
        ),
        "audit": Entry("audit:audit", "Tell how often a replay was wrong."),
    },
    "Files of a project": {
        "why": Entry("files:why", "Say which goals made FILE what it is, newest first."),
        "undo": Entry("files:undo", "Take back the files that goal GOAL published."),
    },
    "What was learned": {
        "traces": Entry("traces:traces", "Look at what has been learned, and change it."),
        "test": Entry("test:test", "Replay the fixtures in FOLDER (trace-tests), without a model."),
        "reindex": Entry("traces_change:reindex", "Build the vector index anew from the traces."),
        "memory": Entry("memory:memory", "Search, show and forget what is remembered."),
        "sentience": Entry("sentience:sentience", "Show, plot, move and reset the internal state."),
        "improve": Entry("improve:improve", "See what llmos could do better, and have it done."),
    },
    "Agents, tools, trust": {
        "agents": Entry("agents:agents", "See and change who thinks: agents and their versions."),
        "tools": Entry("tools:tools", "See what agents may be granted, and what traces became."),
        "hooks": Entry("hooks:hooks", "List and test your hooks, which see every tool call."),
        "keys": Entry("keys:keys", "See and change whose signatures count."),
        "gate": Entry("gate:gate", "Read and verify the log of the gate's decisions."),
        "edge": Entry("edge:edge", "Follow on devices what was learned here."),
    },
    "Operation": {
        "schedule": Entry("schedule:schedule", "Submit goals by the clock."),
        "dead": Entry("dead:dead", "See to goals that were given up (DEAD)."),
        "webhooks": Entry("webhooks:webhooks", "See to deliveries of webhooks that were given up."),
        "projects": Entry(
            "projects:projects", "See how many goals are under way, and set how many may be."
        ),
        "budget": Entry("budget:budget", "See what was spent, and set what may be."),
    },
    "The system": {
        "up": Entry("fleet:up", "Run everything on this machine: Redis and all workers."),
        "worker": Entry("fleet:worker", "Run one worker of ROLE: dispatch, llm, replay or upkeep."),
        "flower": Entry("fleet:flower", "Run Flower, the web view of workers and tasks."),
        "top": Entry("top:top", "Watch goals, backlog, workers, money and internal state."),
        "report": Entry("report:report", "Write one HTML page of how the goals went."),
        "metrics": Entry(
            "metrics:metrics", "Serve the system's figures to Prometheus, on /metrics."
        ),
        "demo": Entry("demo:demo", "Show on a private stack how goals get cheaper."),
        "doctor": Entry("doctor:doctor", "Check every part, and say what mends it."),
        "backup": Entry("backup:backup", "Write all that the system knows to one file."),
        "restore": Entry("backup:restore", "Bring back what such a file holds."),
        "migrate": Entry("migrate:migrate", "Bring the data to this release's schema."),
        "config": Entry("config:config", "Look at the settings."),
        "completion": Entry(
            "completion:completion", "Print the script that completes llmos in SHELL."
        ),
        "version": Entry(
            "config:version", "Print the versions of llmos, Python and the parts that matter."
        ),
    },
}
"""Title in ``llmos --help`` -> name of a command -> where it is, both in the order shown."""

COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}

MEANT = {
    "run": "submit", "goal": "submit", "ask": "submit",
    "ls": "list", "ps": "list", "goals": "list", "jobs": "list",
    "logs": "watch", "follow": "watch", "attach": "watch",
    "stop": "cancel", "kill": "cancel", "abort": "cancel",
    "start": "up", "serve": "up", "init": "up",
    "cost": "budget", "costs": "budget", "money": "budget",
    "check": "doctor", "health": "doctor",
    "cron": "schedule", "trace": "traces", "agent": "agents", "tool": "tools", "settings": "config",
    "revert": "undo", "blame": "why",
}  # fmt: skip
"""What people type who know other tools."""
