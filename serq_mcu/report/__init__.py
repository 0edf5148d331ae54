"""One page that explains a model: how good, why these bits, what they cost, what a recording looks like on
its way through.
"""
