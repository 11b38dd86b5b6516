"""The HTTP door: the native API and the contracts' paths."""
