"""An extension as somebody else would write it: a dense layer with ReLU6, and a layout of plain bytes."""
