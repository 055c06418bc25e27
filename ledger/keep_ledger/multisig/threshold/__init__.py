"""A key that a group holds and nobody has whole: FROST, its key generation and its shares."""
