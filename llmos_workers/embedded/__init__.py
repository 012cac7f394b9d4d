"""The embedded stack: a private valkey-server and the worker processes."""
