"""The HTTP side of the contract thingsnxt: devices by token (section 3), the app by its user (section 4)."""
