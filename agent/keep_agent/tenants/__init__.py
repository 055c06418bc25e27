"""Tenants: whose profile, keys, policies and work are kept apart from each other."""
