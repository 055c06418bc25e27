"""The network's web server: what agents ask for, and pages for people."""
