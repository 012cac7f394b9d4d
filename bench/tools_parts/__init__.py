"""Parts of ``bench.tools``."""
