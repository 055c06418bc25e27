"""Auth rules of an Indy ledger: read, met or not, changed, and what they are worth together."""
