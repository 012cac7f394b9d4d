"""The way out: which addresses may be reached, how they are, and who may go there."""
