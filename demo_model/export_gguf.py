"""Write a checkpoint as a GGUF: `python -m demo_model.export_gguf MODEL.gguf [--checkpoint FILE] [--type Q8_0|F16|F32]`."""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from demo_model.checkpoint import load_checkpoint
from demo_model.files import CHECKPOINT, TEMPLATE, TOKENIZER
from demo_model.model import ModelConfig
from demo_model.tokens import CONTROL, USER_DEFINED

NAME = "tiny-tools"
DESCRIPTION = "Tiny demo/test model: tool calling from synthetic data"
# A split by words without English contractions: no merge crosses from letters to anything else, so any split by words is right.
PRE_TOKENIZER = "deepseek-coder"
FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}

Array = NDArray[np.float32]


def add_metadata(writer: gguf.GGUFWriter, config: ModelConfig, file_type: str) -> None:
    writer.add_name(NAME)
    writer.add_file_type(FILE_TYPES[file_type])
    writer.add_description(DESCRIPTION)
    writer.add_vocab_size(config.vocabulary)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.feed_forward)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.heads)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)


def add_tokenizer(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    """The tokenizer and the chat template.

    Raises:
        ValueError: the tokenizer is not the one that the checkpoint was trained with.
    """
    description = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    ids: dict[str, int] = dict(description["model"]["vocab"])
    ids |= {token["content"]: token["id"] for token in description["added_tokens"]}
    names = sorted(ids, key=lambda name: ids[name])
    if len(names) != config.vocabulary:
        raise ValueError(f"the tokenizer has {len(names)} tokens, the checkpoint {config.vocabulary}")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(names)
    writer.add_token_types([int(_token_type(name)) for name in names])
    merges = description["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    start, end = (ids[token] for token in CONTROL)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_bos_token_id(start)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE.read_text(encoding="utf-8"))


def _token_type(name: str) -> gguf.TokenType:
    if name in CONTROL:
        return gguf.TokenType.CONTROL
    return gguf.TokenType.USER_DEFINED if name in USER_DEFINED else gguf.TokenType.NORMAL


def tensors_of(weights: dict[str, Array], config: ModelConfig) -> dict[str, Array]:
    """The weights under GGUF's names, stacked projections taken apart. There is no output matrix: it is the embedding."""
    tensors = {"token_embd.weight": weights["embedding.weight"]}
    for layer in range(config.layers):
        ours, theirs = f"blocks.{layer}.", f"blk.{layer}."
        query, key, value = np.split(weights[ours + "query_key_value.weight"], 3)
        gate, up = np.split(weights[ours + "gate_up.weight"], 2)
        tensors |= {
            theirs + "attn_q.weight": query,
            theirs + "attn_k.weight": key,
            theirs + "attn_v.weight": value,
            theirs + "ffn_gate.weight": gate,
            theirs + "ffn_up.weight": up,
            theirs + "attn_output.weight": weights[ours + "attention_output.weight"],
            theirs + "ffn_down.weight": weights[ours + "down.weight"],
            theirs + "attn_norm.weight": weights[ours + "attention_norm.weight"],
            theirs + "ffn_norm.weight": weights[ours + "feed_forward_norm.weight"],
        }
    return tensors | {"output_norm.weight": weights["final_norm.weight"]}


def add_tensor(writer: gguf.GGUFWriter, name: str, weights: Array, file_type: str) -> None:
    """Norms stay in F32, matrices have the type of the file."""
    weights = np.ascontiguousarray(weights, np.float32)
    if weights.ndim == 1 or file_type == "F32":
        writer.add_tensor(name, weights)
    elif file_type == "F16":
        writer.add_tensor(name, weights.astype(np.float16))
    else:
        quantization = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(weights, quantization), raw_dtype=quantization)


def export(checkpoint: Path, out: Path, file_type: str) -> None:
    """Write the GGUF."""
    model, config = load_checkpoint(checkpoint)
    weights = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    writer = gguf.GGUFWriter(out, "llama")
    add_metadata(writer, config, file_type)
    add_tokenizer(writer, config)
    for name, tensor in tensors_of(weights, config).items():
        add_tensor(writer, name, tensor, file_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m demo_model.export_gguf", description=__doc__)
    parser.add_argument("out", type=Path, help="the GGUF to write")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="default: the one beside the recipe")
    parser.add_argument("--type", choices=sorted(FILE_TYPES), default="Q8_0")
    options = parser.parse_args()
    export(options.checkpoint, options.out, options.type)


if __name__ == "__main__":
    main()
