"""What is put on a board: images of our firmware, whole file systems, and the cable that they go over.

Runs beside the server, on the machine at which the board is; the server itself loads nothing of it.
"""
