"""What only maintainers run: pages, counted costs, parity, endurance.

Not in the wheel.
"""
