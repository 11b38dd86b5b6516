"""The schema's history. Versions are only ever added."""
