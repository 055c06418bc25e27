"""Keys, DIDs and their documents, connections, and how two agents make one."""
