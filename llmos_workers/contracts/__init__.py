"""The words all rooms speak. Pure data: no I/O, no imports from other rooms."""
