"""The explorer: look at the output space, hear it, and name whole regions of it."""
