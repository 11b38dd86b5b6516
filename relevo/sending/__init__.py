"""Messages to people leave from a process of their own: what they are sent with is heavy, blocking and foreign."""
