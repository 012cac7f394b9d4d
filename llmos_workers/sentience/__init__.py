"""How to behave: valence, policy, state."""
