"""A real Indy network on this machine; runs in the node venv, never in the agent's."""
