"""Parts of bench.containment."""
