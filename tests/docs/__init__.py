"""Pages, commands in pages, packages, workflows."""
