"""The device behind a wire: protocol, transports, and a device as an object."""
