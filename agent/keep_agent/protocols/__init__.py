"""One file per DIDComm protocol, all with the same seven parts."""
