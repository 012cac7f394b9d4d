"""Hooks: what looks at every call before and after it runs."""
