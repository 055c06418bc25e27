"""The DIDComm protocols: one file for each, all with the same parts in the same order."""
