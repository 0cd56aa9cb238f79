"""A season of soundscapes whose truth is known."""
