"""The MQTT door: sockets, sessions and who may do what."""
