"""AnonCreds for the protocols: what issuer, holder and verifier do with the wallet and the ledger."""
