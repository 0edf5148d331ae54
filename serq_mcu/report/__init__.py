"""One page that explains a model: how good, why these bits, what they cost.

It also shows one recording from waveform to decision.
"""
