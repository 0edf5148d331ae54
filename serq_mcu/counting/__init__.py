"""What exported code executes, counted in an emulator."""
