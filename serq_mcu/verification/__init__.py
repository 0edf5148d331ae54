"""One harness for host, emulator and board: protocol, transports, comparison stage by stage."""
