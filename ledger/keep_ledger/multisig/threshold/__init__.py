"""A key that a group shares and nobody has as a whole: FROST, its key generation and its shares."""
