"""Runs what compose.yaml and the manifests declare, without Docker: the same commands, users,
environments, files and health checks, on the programs of this machine. No image is built or pulled.
"""
