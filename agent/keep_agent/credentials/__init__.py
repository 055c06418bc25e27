"""AnonCreds for the protocols: what an issuer, a holder and a verifier do with the wallet and the ledger."""
