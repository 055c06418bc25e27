"""The verifiable data registry as a plugin."""
