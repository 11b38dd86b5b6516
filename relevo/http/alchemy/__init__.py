"""Contract alchemy over HTTP: who may, what they see, and what they change."""
