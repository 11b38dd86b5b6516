"""What is kept on disk. Everything here runs on the writer thread or on a reader's own connection."""
