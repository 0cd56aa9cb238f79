"""BirdNET: what a supervised model says of each window (pseudo-labels), and its embedding of it."""
