"""The admin API: commands in, exchanges and events out, over HTTP on loopback."""
