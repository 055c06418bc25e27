"""Who is who: keys, DIDs and their documents, connections, and how two agents meet."""
