"""The zygote's side: runs alone with the standard library, imports nothing of llmos.

The modules here do not import each other as a package: the zygote starts without site packages
and finds them by its own folder.
"""
