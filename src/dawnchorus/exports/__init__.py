"""Tables that other tools of the field read: Raven, and what follows."""
