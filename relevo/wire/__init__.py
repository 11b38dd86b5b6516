"""Bytes to values and back, pure: no I/O and no clock."""
