"""Floor 2: the recorder cards. Names, headers, clocks, faults, and the samples themselves."""
