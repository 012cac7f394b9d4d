"""The command line of llmos."""
