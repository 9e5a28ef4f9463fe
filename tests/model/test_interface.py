"""The interface: forward is the field of predict, whatever the model."""

import torch

from orbitds.config import ModelConfig
from orbitds.model.interface import DownscalingModel, Prediction


class Half(DownscalingModel):
    """Gives back half of what it sees, and remembers what it was told."""

    @property
    def reach_cells(self):
        return 0

    def predict(self, coarse, **told):
        self.told = told
        return Prediction(coarse / 2, coarse)


def test_forward_passes_everything_on():
    model = Half(ModelConfig(), inputs=["a"], outputs=["a"], factor=1)
    coarse = torch.randn(2, 1, 3, 5)
    told = {
        "latitude_deg": torch.randn(2, 3),
        "longitude_deg": torch.randn(2, 5),
        "spacing_km": torch.randn(2, 2),
        "variables": ("a",),
        "statics": torch.randn(2, 0, 3, 5),
        "climatology": (torch.zeros(2, 1, 3, 5), torch.zeros(2, 1, 3, 5)),
        "periodic": True,
        "phase": (1, 0),
        "noise": torch.randn(2, 4),
    }
    assert torch.equal(model(coarse, **told), coarse / 2)
    assert model.told == told
