"""Bytes in and out: the inbound HTTP server and the HTTP client for all outbound requests."""
