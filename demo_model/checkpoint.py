"""A checkpoint: the shape of the network and its weights, in one file of torch's."""

from dataclasses import asdict
from pathlib import Path

import torch

from demo_model.model import Model, ModelConfig


def save_checkpoint(path: Path, model: Model, config: ModelConfig) -> None:
    torch.save({"config": asdict(config), "weights": model.state_dict()}, path)


def load_checkpoint(path: Path) -> tuple[Model, ModelConfig]:
    """Read a checkpoint. Only tensors and plain values are read from it, never code."""
    stored = torch.load(path, weights_only=True)
    config = ModelConfig(**stored["config"])
    model = Model(config)
    model.load_state_dict(stored["weights"])
    return model, config
