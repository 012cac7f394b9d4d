"""The hook chain that every tool call passes."""
