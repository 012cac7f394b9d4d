"""Confinement of commands by the operating system."""
