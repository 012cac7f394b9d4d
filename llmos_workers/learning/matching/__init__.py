"""Whether a new goal means what a known one meant, and with which values."""
