"""The DIDComm agent: who talks, and what they say."""
