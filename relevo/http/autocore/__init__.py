"""Contract autocore over HTTP: boards that register (section 3.1), and displays, app and tools (3.2)."""
