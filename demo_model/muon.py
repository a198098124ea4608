"""Muon: momentum with orthogonalised updates for weight matrices (https://kellerjordan.github.io/posts/muon/)."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
WEIGHT_DECAY = 0.01
NEWTON_SCHULZ_STEPS = 5
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Muon:
    """Updates matrices batched by shape; projections that are stacked in one matrix are orthogonalised one by one."""

    def __init__(self, matrices: Sequence[tuple[nn.Parameter, int]]) -> None:
        self._matrices = [(parameter, parts, torch.zeros_like(parameter)) for parameter, parts in matrices]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, parts, momentum in self._matrices:
            momentum.lerp_(parameter.grad, 1 - MOMENTUM)
            gradient = parameter.grad.lerp(momentum, MOMENTUM)
            for part, weight in zip(gradient.chunk(parts), parameter.data.chunk(parts), strict=True):
                by_shape[weight.shape].append((part, weight))
        for (rows, columns), pairs in by_shape.items():
            updates = orthogonalised(torch.stack([part for part, _ in pairs]))
            scale = learning_rate * max(1, rows / columns) ** 0.5
            for (_, weight), update in zip(pairs, updates, strict=True):
                weight.mul_(1 - learning_rate * WEIGHT_DECAY).add_(update, alpha=-scale)


def orthogonalised(matrices: Tensor) -> Tensor:
    """The nearest orthogonal matrix to each of a batch, roughly, by Newton and Schulz's iteration in bfloat16."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()
