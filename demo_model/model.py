"""The network: a llama with tied embeddings, small enough to train on a CPU in an hour."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of the network, as it also stands in the GGUF."""

    vocabulary: int = 1536
    width: int = 192
    heads: int = 6
    layers: int = 4
    feed_forward: int = 512
    context: int = 2048
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class Block(nn.Module):
    """Attention and a gated feed-forward part, each with a norm before it and zero at the start of training."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, feed_forward = config.width, config.feed_forward
        self.heads = config.heads
        self.attention_norm = nn.RMSNorm(width, config.norm_epsilon)
        self.feed_forward_norm = nn.RMSNorm(width, config.norm_epsilon)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_output = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * feed_forward, bias=False)
        self.down = nn.Linear(feed_forward, width, bias=False)
        nn.init.zeros_(self.attention_output.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        batch, length, width = x.shape
        projected = self.query_key_value(self.attention_norm(x)).view(batch, length, 3, self.heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            _rotate(query, cosine, sine), _rotate(key, cosine, sine), value, is_causal=True
        )
        x = x + self.attention_output(attended.transpose(1, 2).reshape(batch, length, width))
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, -1)
        return x + self.down(functional.silu(gate) * up)


def _rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate neighbouring pairs: what GGUF's llama architecture expects, so that the export needs no permutation."""
    even, odd = heads[..., ::2], heads[..., 1::2]
    pairs = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1)
    return pairs.flatten(-2).to(heads.dtype)


class Model(nn.Module):
    """From ids (batch, length) to the last hidden states (batch, length, width); `logits` takes them to the vocabulary."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.embedding.weight, std=0.05)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.RMSNorm(config.width, config.norm_epsilon)
        frequencies = config.rope_base ** (-torch.arange(0, config.head_width, 2) / config.head_width)
        angles = torch.outer(torch.arange(config.context).float(), frequencies)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        hidden = self.embedding(ids)
        for block in self.blocks:
            hidden = block(hidden, self.cosine[:length], self.sine[:length])
        return self.final_norm(hidden)

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.embedding.weight)

    def matrices(self) -> list[tuple[nn.Parameter, int]]:
        """The blocks' weight matrices, each with the number of projections that are stacked in it."""
        stacked = {"query_key_value": 3, "gate_up": 2}
        return [
            (parameter, stacked.get(name.split(".")[1], 1))
            for name, parameter in self.blocks.named_parameters()
            if parameter.ndim == 2
        ]
