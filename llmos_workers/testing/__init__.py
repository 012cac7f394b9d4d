"""For users' own tests: a pytest fixture with the embedded stack and the rehearsal model."""
