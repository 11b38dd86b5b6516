"""Live views: events after their commit, pushed to whoever watches."""
