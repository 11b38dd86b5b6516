"""Devices that do not exist, over sockets that do.

This room shares no codec, dialect or store with the server: what it sends it encoded itself, and what it compares at
the end it read back over HTTP, so a mistake in the server's decoders cannot cancel out.
"""
