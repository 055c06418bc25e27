"""For the tests of others: a real Indy network as a pytest fixture, and the conformance suite of a plugin."""
