"""A scripted stand-in for the Messages API over HTTP. It is not a language model."""
