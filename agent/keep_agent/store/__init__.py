"""The store of an agent, in Askar: profiles, the writer, rows, cache, migrations."""
