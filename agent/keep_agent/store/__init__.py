"""What is remembered, in Askar: profiles, the writer, rows and caches."""
