"""What was done before: traces, matching, index, strategies."""
