"""Boards over HTTP: who may do what with one, and what it looks like to them."""
