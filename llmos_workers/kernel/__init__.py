"""What must be exact: goals, journal, money, Redis, the workspace."""
