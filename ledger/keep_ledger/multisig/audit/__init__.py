"""What was done with an identity, from the ledger alone: who signed, what is still unused, who controls it."""
