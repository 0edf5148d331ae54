"""Exported projects built by cross compilers and run in QEMU."""
