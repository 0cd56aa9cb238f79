"""How good the output spaces are, beside their baselines, measured so that nobody can call it
leaky."""
