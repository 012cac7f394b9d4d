"""The headline benchmark: a stream of realistic goals through several kinds of memory."""
