"""Attacks that one anonymous address, or one IPv6 network of 64 bits, can make on a server."""
