"""Splitting text into tokens as the engine does."""

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from demo_model.files import TOKENIZER
from demo_model.tokens import CONTROL, USER_DEFINED, Encoder, split_whole_tokens

IDS = {token: place for place, token in enumerate((*CONTROL, *USER_DEFINED))}
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 17, "tags": ["x y", "ünï"]}}\n</tool_call><|im_end|>'

texts = st.lists(st.sampled_from([*IDS, '"', ": ", "{", "\n", "word", "é", "7"]), min_size=1, max_size=12).map("".join)


@given(texts)
def test_the_parts_of_a_text_give_the_text_again(text: str) -> None:
    names = list(IDS)
    assert "".join(names[part] if isinstance(part, int) else part for part in split_whole_tokens(text, IDS)) == text


@given(texts)
def test_no_whole_token_is_left_in_the_parts_between(text: str) -> None:
    between = [part for part in split_whole_tokens(text, IDS) if isinstance(part, str)]
    assert [part for part in between if not part or any(token in part for token in IDS)] == []


def test_the_longest_token_wins_over_one_that_begins_earlier() -> None:
    assert split_whole_tokens('x": "string"', IDS) == ["x", IDS['": "string"']]


def test_targets_belong_to_the_ids_of_their_segment() -> None:
    encoder = Encoder()
    given, learned = encoder.encode([("Add 1", 0)])[0], encoder.encode([(CALL, 2)])[0]
    assert encoder.encode([("Add 1", 0), (CALL, 2)]) == (given + learned, [0] * len(given) + [2] * len(learned))


def test_a_variant_splits_finer_and_gives_the_same_text() -> None:
    tokenizer: Tokenizer = Tokenizer.from_file(str(TOKENIZER))
    encoder = Encoder(variants=6, seed=3)
    segments = [("please restore the administrative configuration of the environment", 0)]
    lengths = [len(encoder.encode(segments, variant)[0]) for variant in range(encoder.variants + 1)]
    assert encoder.variants == 6
    assert lengths[0] == min(lengths) < max(lengths)
    decoded = {tokenizer.decode(encoder.encode(segments, variant)[0]) for variant in range(7)}
    assert decoded == {segments[0][0]}
