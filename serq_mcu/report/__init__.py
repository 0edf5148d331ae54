"""One page that explains a model: how good, why these bits, what they cost.

It follows a recording on its way through, too.
"""
