"""How the system gets better: agents, later crystallization and improvement."""
