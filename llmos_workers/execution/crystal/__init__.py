"""Generated tools: what their Python may say, and the confined process that it runs in."""
