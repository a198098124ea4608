"""The tokenizer: training it, and encoding text exactly as llama.cpp does.

Control tokens come first, then text tokens that llama.cpp matches whole (its type USER_DEFINED), then byte-level BPE whose merges
never leave a run of letters, so that every digit, space and sign is a token of its own.
"""

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Encoding, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from demo_model.files import TOKENIZER

VOCABULARY_SIZE: Final = 1536
CONTROL: Final = ("<|im_start|>", "<|im_end|>")
_MARKUP: Final = "<tool_call> </tool_call> <tool_response> </tool_response> <tools> </tools> <think> </think>".split()
_JSON_GLUE: Final = ('\n{"name": "', '", "description": "', '", "parameters": {', '", "arguments": {')
_TYPES: Final = [
    f'": "{name}{mark}"' for name in ("string", "integer", "number", "boolean", "array") for mark in ("", "?")
]
_JSON_SIGNS: Final = ('": "', '": ', '", "', ', "', '": ["', '"]')
USER_DEFINED: Final = (*_MARKUP, *_JSON_GLUE, *_TYPES, *_JSON_SIGNS)
_LONGEST_FIRST: Final = sorted((*CONTROL, *USER_DEFINED), key=lambda token: -len(token.encode()))

# A part of a text, and whether it counts in training: 0 not, 1 an answer, 2 a tool call.
Segment = tuple[str, int]


def train_tokenizer(texts: Iterable[str], path: Path = TOKENIZER) -> None:
    """Make a new tokenizer from texts and write it. A model goes with its tokenizer: this means training from scratch."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{L}+|[^\p{L}]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(CONTROL) - len(USER_DEFINED),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        max_token_length=14,
    )
    tokenizer.train_from_iterator(texts, trainer)
    whole = [AddedToken(token, special=False, normalized=False) for token in (*CONTROL, *USER_DEFINED)]
    tokenizer.add_tokens(whole)
    tokenizer.save(str(path))


def split_whole_tokens(text: str, ids: dict[str, int]) -> list[str | int]:
    """Split as llama.cpp does: the longest of the whole tokens first, over all of the text, then the next longest."""
    parts: list[str | int] = [text]
    for token in _LONGEST_FIRST:
        if token not in text:
            continue
        split: list[str | int] = []
        for part in parts:
            if isinstance(part, int):
                split.append(part)
                continue
            for place, piece in enumerate(part.split(token)):
                if place:
                    split.append(ids[token])
                if piece:
                    split.append(piece)
        parts = split
    return parts


class Encoder:
    """The tokenizer, and variants of it that lack some merges.

    An example that is encoded with a variant is split finer, but in the same way wherever a word comes up, so that the model learns
    to copy every piece of the vocabulary (BPE dropout with one draw per example). Variant 0 is the tokenizer itself.
    """

    def __init__(self, variants: int = 0, seed: int = 0, path: Path = TOKENIZER) -> None:
        description = json.loads(path.read_text(encoding="utf-8"))
        self._ids = {token["content"]: token["id"] for token in description["added_tokens"]}
        description["added_tokens"] = []
        merges = description["model"]["merges"]
        self._tokenizers = [Tokenizer.from_str(json.dumps(description))]
        chance = random.Random(seed)
        for _ in range(variants):
            missing = chance.choice([0.03, 0.08, 0.15, 0.3])
            description["model"]["merges"] = [merge for merge in merges if chance.random() > missing]
            self._tokenizers.append(Tokenizer.from_str(json.dumps(description)))

    @property
    def variants(self) -> int:
        return len(self._tokenizers) - 1

    def encode(self, segments: Sequence[Segment], variant: int = 0) -> tuple[list[int], list[int]]:
        """The ids of all segments, and for each id the target of its segment."""
        split = [(split_whole_tokens(text, self._ids), target) for text, target in segments]
        texts = [part for parts, _ in split for part in parts if isinstance(part, str)]
        encoded: list[Encoding] = self._tokenizers[variant].encode_batch(texts, add_special_tokens=False)
        of_texts = (encoding.ids for encoding in encoded)
        ids: list[int] = []
        targets: list[int] = []
        for parts, target in split:
            for part in parts:
                part_ids = [part] if isinstance(part, int) else next(of_texts)
                ids += part_ids
                targets += [target] * len(part_ids)
        return ids, targets
