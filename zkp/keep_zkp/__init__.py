"""AnonCreds: requests, issuer, holder, verifier, and the verdict."""
