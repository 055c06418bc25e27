"""Auth rules of an Indy ledger: read, checked, described, changed, and which quorums they make together."""
