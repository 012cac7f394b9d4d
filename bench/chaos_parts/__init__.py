"""The parts of ``python -m bench.chaos``: goals, fleet, mischief, evidence, checks."""
