"""Learning: the frozen training set, the backbones, and joint-embedding training (floor 4)."""
