"""Python alone, or nearly."""
