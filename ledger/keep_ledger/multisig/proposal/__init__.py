"""A request that several people sign: its format, what it may contain, and what each cosigner must see."""
