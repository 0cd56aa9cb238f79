"""Order in the output space: clusters, their cards, and a 2-D map to look at."""
