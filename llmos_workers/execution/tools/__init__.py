"""The built-in tools and their registry."""
