"""The interface's files, served from the package."""
