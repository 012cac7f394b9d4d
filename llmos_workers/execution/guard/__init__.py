"""What a tool call would do, judged before it runs: commands, paths, addresses, Python, SQL.

``check.check_call`` judges a call, ``check.check_command`` a command line. The guard is the early
warning; the sandbox is the boundary. docs/guard.md tells what is decided how.
"""
