"""A store's key on paper, as SLIP-39 shares."""
