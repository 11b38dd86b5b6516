"""Contract hidrometro over HTTP: readings, commands, alerts, customers and pages (sections 4 and 4.1)."""
