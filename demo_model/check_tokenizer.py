"""Does our encoder split text exactly as the engine does? `python -m demo_model.check_tokenizer [MODEL.gguf]`."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from demo_model.evaluation.engine import running_engine
from demo_model.examples import example
from demo_model.files import SHIPPED_MODEL
from demo_model.generator.conversations import Conversations
from demo_model.tokens import Encoder

SEED = 99
COUNT = 300


def differences(model: Path) -> list[str]:
    """The conversations that the two split differently."""
    encoder, conversations = Encoder(), Conversations(SEED)
    different: list[str] = []
    with running_engine(model) as engine:
        for _ in range(COUNT):
            text = "".join(segment for segment, _ in example(conversations, 1))
            ids, _ = encoder.encode([(text, 0)])
            if ids != engine.tokenize(text):
                different.append(text)
    return different


def main() -> None:
    """The command: ends with status 1 where there is a difference."""
    parser = argparse.ArgumentParser(prog="python -m demo_model.check_tokenizer", description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, default=SHIPPED_MODEL)
    different = differences(parser.parse_args().model)
    console = Console(highlight=False, markup=False)
    for text in different[:3]:
        console.print(text)
    console.print(f"{len(different)} of {COUNT} conversations are split differently")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
