"""Listening: a recording, a microphone of this computer, or a board -> decisions -> a terminal, a drawing,
a local page.
"""
