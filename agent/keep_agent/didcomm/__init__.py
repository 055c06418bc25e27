"""DIDComm v1 as bytes: envelopes, invitation URLs, and the outbox that delivers messages."""
