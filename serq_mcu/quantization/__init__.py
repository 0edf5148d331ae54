"""A float network to bits per layer and integers: importance, quantizer, allocation, lowering. numpy only."""
