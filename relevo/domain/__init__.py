"""What Relevo knows about devices, as pure values and functions: no I/O, no clock, no randomness."""
