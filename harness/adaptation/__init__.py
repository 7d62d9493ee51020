"""How weights are adapted: quantisation, adapters and training."""
