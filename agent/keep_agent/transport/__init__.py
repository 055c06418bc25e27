"""Bytes in and out: the inbound HTTP server and the one client for everything outbound."""
