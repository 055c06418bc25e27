"""A request that several people sign: its form, what may stand in it, and what each must see of it."""
