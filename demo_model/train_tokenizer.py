"""Make a new tokenizer from made-up conversations: `python -m demo_model.train_tokenizer`.

It replaces tokenizer.json, so the model has to be trained from scratch afterwards.
"""

from demo_model.examples import example
from demo_model.files import TOKENIZER
from demo_model.generator.conversations import Conversations
from demo_model.generator.lexicon import documentation_words, lexicon_of, time_zones, vocabulary_pieces
from demo_model.tokens import train_tokenizer

SEED = 1
CONVERSATIONS = 8000


def main() -> None:
    """The command. The pieces of the tokenizer that is being replaced are not drawn from."""
    TOKENIZER.unlink(missing_ok=True)
    lexicon = lexicon_of(documentation_words(), vocabulary_pieces(), time_zones())
    conversations = Conversations(SEED, lexicon)
    texts = ("".join(text for text, _ in example(conversations, 1)) for _ in range(CONVERSATIONS))
    train_tokenizer(texts)


if __name__ == "__main__":
    main()
