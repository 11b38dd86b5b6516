"""Contract emqx over HTTP: managed brokers, sensors and readings."""
