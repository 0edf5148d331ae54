"""Features to a float network.

The only room that imports TensorFlow.
"""
