"""From an event to a decision and its commit; no protocol is known by name here."""
