"""Train for a number of minutes on a CPU: `python -m demo_model.train MINUTES [--from CHECKPOINT]`.

Two processes of one thread each average their gradients once a step: on a shared machine that beats one process with two threads.
The schedule follows the clock, so two runs never give the same weights, only the same quality.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, distributed, multiprocessing
from torch.nn import functional

from demo_model.checkpoint import load_checkpoint, save_checkpoint
from demo_model.model import Model, ModelConfig
from demo_model.muon import Muon
from demo_model.shards import (
    ANSWER,
    CALL,
    PADDING,
    Example,
    batches,
    collate,
    make_examples,
    make_shard,
    read_examples,
    write_examples,
)

EASY, MIDDLE, FULL = 0.0, 0.3, 1.0
FROM_SCRATCH = {EASY: 15_000, MIDDLE: 20_000, FULL: 60_000}
VALIDATION = (777_777, FULL, 200, False)
MATRIX_RATE, OTHER_RATE = 0.02, 0.004
CALL_WEIGHT = 2.5  # calls count more than the answers, which only quote
GIVEN_WEIGHT = 0.1  # of the loss on what is given, early in a training from scratch


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, from the command line."""

    minutes: float
    start: Path | None
    out: Path
    seed: int
    examples: int
    tokens: int
    learning_rate: float
    hold: float
    processes: int
    port: int

    def stage(self, progress: float, chance: random.Random) -> float:
        """How hard the next batch is: harder with time, now and then an easier one; always full where training continues."""
        if self.start:
            return FULL
        stage = FULL if progress > 0.4 else MIDDLE if progress > 0.15 else EASY
        if chance.random() < 0.1:
            return EASY if progress < 0.4 else MIDDLE
        return stage

    def rate(self, step: int, progress: float) -> float:
        """The factor on all learning rates: a short warm-up, a plateau, then straight down to a fiftieth."""
        falling = 1 - self.hold if self.start else 0.6
        return min(1, (step + 1) / 40) * max(min(1, (1 - progress) / falling), 0.02) * self.learning_rate


def loss_of(model: Model, ids: Tensor, roles: Tensor, given_weight: float) -> tuple[Tensor, float]:
    """Cross entropy on what is to be learned, plus `given_weight` times that on the rest; and the first of the two alone."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model(ids[:, :-1])
        following, roles = ids[:, 1:], roles[:, 1:]
        selected = roles > PADDING if given_weight else roles >= ANSWER
        logits = model.logits(hidden[selected]).float()
    losses = functional.cross_entropy(logits, following[selected], reduction="none")
    learned = roles[selected] >= ANSWER
    weights = torch.where(roles[selected][learned] == CALL, CALL_WEIGHT, 1.0)
    loss = (losses[learned] * weights).sum() / weights.sum()
    total = loss + given_weight * losses[~learned].mean() if given_weight else loss
    return total, loss.item()


@torch.no_grad()
def validate(model: Model, examples: list[Example]) -> tuple[float, float]:
    """The loss, and the share of assistant turns in which every token is the greedy choice."""
    losses: list[float] = []
    turns: list[bool] = []
    by_length = sorted(examples, key=lambda example: len(example[0]))
    for start in range(0, len(by_length), 24):
        ids, roles = collate(by_length[start : start + 24])
        with torch.autocast("cpu", torch.bfloat16):
            logits = model.logits(model(ids[:, :-1]))
        following, learned = ids[:, 1:], roles[:, 1:] >= ANSWER
        losses.append(functional.cross_entropy(logits[learned].float(), following[learned]).item())
        right = logits.argmax(-1) == following
        for row in range(len(ids)):
            turns += _turns(learned[row], right[row])
    return float(np.mean(losses)), sum(turns) / len(turns)


def _turns(learned: Tensor, right: Tensor) -> Iterator[bool]:
    """For each unbroken stretch of learned positions: are all of them right?"""
    places = learned.nonzero().flatten().tolist()
    stretch = True
    for here, after in zip(places, [*places[1:], None], strict=True):
        stretch &= bool(right[here])
        if after != here + 1:
            yield stretch
            stretch = True


class Trainer:
    """One of the processes."""

    def __init__(self, rank: int, plan: Plan, examples_file: Path) -> None:
        self.rank, self.plan = rank, plan
        self.console = Console(quiet=rank != 0, highlight=False)
        torch.manual_seed(0)
        self.config = ModelConfig()
        self.model = Model(self.config)
        if plan.start:
            self.model, self.config = load_checkpoint(plan.start)
        self.parameters = list(self.model.parameters())
        matrices = self.model.matrices()
        with_muon = {id(parameter) for parameter, _ in matrices}
        others = [parameter for parameter in self.parameters if id(parameter) not in with_muon]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.97), weight_decay=0)
        chance = np.random.default_rng(rank + plan.processes * plan.seed)
        self.batches = {
            stage: batches(examples[rank :: plan.processes], plan.tokens, chance)
            for stage, examples in read_examples(examples_file).items()
        }
        self.validation = make_shard(VALIDATION)[rank :: plan.processes]

    def run(self) -> None:
        """Step until the time is over."""
        chance = random.Random(5)  # the same in all processes: they take the same stage at each step
        began, step, tokens, progress, next_validation = time.monotonic(), 0, 0.0, 0.0, 0.05
        losses: list[float] = []
        while progress < 1:
            stage = self.plan.stage(progress, chance)
            ids, roles = next(self.batches[stage])
            given_weight = GIVEN_WEIGHT if progress < 0.15 and not self.plan.start else 0
            total, loss = loss_of(self.model, ids, roles, given_weight)
            total.backward()
            elapsed = time.monotonic() - began
            progress, loss, size = self._average([elapsed / 60 / self.plan.minutes, loss, ids.numel()])
            self._update(self.plan.rate(step, progress))
            step += 1
            tokens += size * self.plan.processes
            losses.append(loss)
            if step % 25 == 0:
                mean, speed = np.mean(losses), tokens / elapsed
                self.console.print(
                    f"{elapsed / 60:.1f} min, step {step}, stage {stage}: loss {mean:.4f}, {speed:.0f} tokens/s"
                )
                losses.clear()
            if progress > next_validation or progress >= 1:
                next_validation += 0.07
                self._validate_and_save(f"{elapsed / 60:.1f} min, step {step}, {tokens / 1e6:.1f} M tokens")

    def _average(self, figures: list[float]) -> list[float]:
        """Average the gradients and some figures over all processes."""
        flat = torch.cat([parameter.grad.flatten() for parameter in self.parameters] + [torch.tensor(figures)])
        distributed.all_reduce(flat)
        flat /= self.plan.processes
        sizes = [parameter.numel() for parameter in self.parameters]
        *gradients, averaged = flat.split([*sizes, len(figures)])
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad.copy_(gradient.view_as(parameter))
        return averaged.tolist()

    def _update(self, rate: float) -> None:
        self.muon.step(MATRIX_RATE * rate)
        self.adam.param_groups[0]["lr"] = OTHER_RATE * rate
        self.adam.step()
        self.model.zero_grad()

    def _validate_and_save(self, when: str) -> None:
        figures = torch.tensor(validate(self.model, self.validation))
        distributed.all_reduce(figures)
        loss, exact = (figures / self.plan.processes).tolist()
        self.console.print(f"--- {when}: validation loss {loss:.4f}, exact turns {exact:.3f}")
        if self.rank == 0:
            save_checkpoint(self.plan.out, self.model, self.config)


def work(rank: int, plan: Plan, examples_file: Path) -> None:
    """The life of one process."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(plan.port))
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=plan.processes)
    try:
        Trainer(rank, plan, examples_file).run()
    finally:
        distributed.destroy_process_group()


def parse_plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m demo_model.train", description=__doc__)
    parser.add_argument("minutes", type=float, help="how long to train, without the making of the examples")
    parser.add_argument("--from", dest="start", type=Path, help="a checkpoint to continue from (default: from scratch)")
    parser.add_argument("--out", type=Path, default=Path("checkpoint.pt"), help="where to write the checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="of the examples and their order: another one for each run")
    parser.add_argument("--examples", type=int, default=60_000, help="how many to make where training continues")
    parser.add_argument("--tokens", type=int, default=3072, help="positions in one batch of one process")
    parser.add_argument("--learning-rate", type=float, default=1.0, help="factor on the learning rates")
    parser.add_argument("--hold", type=float, default=0.3, help="share of a continuation before the rates fall")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--port", type=int, default=29511, help="of the processes' own traffic, on the loopback")
    return Plan(**vars(parser.parse_args()))


def main() -> None:
    """The command."""
    plan = parse_plan()
    sizes = {FULL: plan.examples} if plan.start else FROM_SCRATCH
    with tempfile.TemporaryDirectory() as folder:
        examples_file = Path(folder) / "examples.npz"
        began = time.monotonic()
        write_examples(examples_file, make_examples(sizes, plan.seed, plan.processes))
        Console().print(f"{sum(sizes.values())} examples made in {time.monotonic() - began:.0f} s")
        multiprocessing.spawn(work, (plan, examples_file), nprocs=plan.processes)


if __name__ == "__main__":
    main()
