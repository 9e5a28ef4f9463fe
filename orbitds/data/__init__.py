"""From lazy xarray datasets to samples of tensors."""
