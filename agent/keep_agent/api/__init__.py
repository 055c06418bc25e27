"""The admin API: commands, exchanges, records and events over HTTP, by default on loopback."""
