"""The pytest plugin: fixtures are added as the embedded stack arrives."""
