"""Every window becomes a vector: a recorder-day's place in the output space."""
