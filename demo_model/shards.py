"""Encoded examples in bulk: made by several processes, kept in one file, served as batches."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demo_model.examples import encoded_examples

SHARD_SIZE = 2500
POOL = 1024  # examples that are sorted by length together
# What a position of a batch is.
PADDING, GIVEN, ANSWER, CALL = 0, 1, 2, 3

Example = tuple[NDArray[np.uint16], NDArray[np.uint8]]


def make_shard(job: tuple[int, float, int, bool]) -> list[Example]:
    """The examples of one seed, stage and count; the last item says whether variants of the tokenizer are used."""
    seed, stage, count, variants = job
    return [
        (np.array(ids, np.uint16), np.array(targets, np.uint8))
        for ids, targets in encoded_examples(seed, stage, count, variants=variants)
    ]


def make_examples(sizes: Mapping[float, int], seed: int, workers: int) -> dict[float, list[Example]]:
    """So many examples of each stage. Each whole shard has a seed of its own, counted up from `seed`."""
    jobs = [
        (seed + 1000 * place + shard, stage, SHARD_SIZE, True)
        for place, (stage, count) in enumerate(sizes.items())
        for shard in range(count // SHARD_SIZE)
    ]
    examples: dict[float, list[Example]] = {stage: [] for stage in sizes}
    with ProcessPoolExecutor(workers) as pool:
        for (_, stage, _, _), shard in zip(jobs, pool.map(make_shard, jobs), strict=True):
            examples[stage] += shard
    return examples


def write_examples(path: Path, examples: Mapping[float, Sequence[Example]]) -> None:
    """Keep examples in a file: for each stage all ids, all targets and the lengths."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for stage, items in examples.items():
        arrays[f"{stage} ids"] = np.concatenate([ids for ids, _ in items])
        arrays[f"{stage} targets"] = np.concatenate([targets for _, targets in items])
        arrays[f"{stage} lengths"] = np.array([len(ids) for ids, _ in items])
    np.savez(path, **arrays)


def read_examples(path: Path) -> dict[float, list[Example]]:
    """What `write_examples` kept."""
    with np.load(path) as arrays:
        stages = [name.removesuffix(" ids") for name in arrays.files if name.endswith(" ids")]
        examples: dict[float, list[Example]] = {}
        for stage in stages:
            cuts = np.cumsum(arrays[f"{stage} lengths"])[:-1]
            ids = np.split(arrays[f"{stage} ids"], cuts)
            examples[float(stage)] = list(zip(ids, np.split(arrays[f"{stage} targets"], cuts), strict=True))
    return examples


def collate(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Right-padded ids (batch, length), and what each position is."""
    longest = max(len(ids) for ids, _ in examples)
    ids_batch = np.zeros((len(examples), longest), np.int64)
    roles = np.full((len(examples), longest), PADDING, np.uint8)
    for row, (ids, targets) in enumerate(examples):
        ids_batch[row, : len(ids)] = ids
        roles[row, : len(ids)] = targets + GIVEN
    return torch.from_numpy(ids_batch), torch.from_numpy(roles)


def batches(examples: Sequence[Example], tokens: int, chance: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of up to `tokens` positions, each of examples of similar length."""
    while True:
        shuffled = [examples[place] for place in chance.permutation(len(examples))]
        for start in range(0, len(shuffled), POOL):
            groups: list[list[Example]] = [[]]
            for example in sorted(shuffled[start : start + POOL], key=lambda item: len(item[0])):
                if groups[-1] and (len(groups[-1]) + 1) * len(example[0]) > tokens:
                    groups.append([])
                groups[-1].append(example)
            for place in chance.permutation(len(groups)):
                yield collate(groups[place])
