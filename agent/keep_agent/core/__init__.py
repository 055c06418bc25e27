"""From an event to a decision, and from a decision to a commit; no protocol is known by name."""
