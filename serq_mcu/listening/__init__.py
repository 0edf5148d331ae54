"""Listening: a recording, this computer's microphone or a board to decisions as they come.

They go to a terminal, a drawing or a local page.
"""
