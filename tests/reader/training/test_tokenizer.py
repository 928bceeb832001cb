import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from depqa_ray.passages.synthetic.names import FIRST_NAMES, NAMES, SURNAMES
from depqa_ray.reader.training.tokenizer import TURN_END, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(0)


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_each_name_is_one_token_in_any_position(tokenizer: PreTrainedTokenizerBase, kind: str) -> None:
    """Each name is the same single token in any position."""
    for name in NAMES[kind]:  # type: ignore[index]
        answer = ids_of(tokenizer, f'{{"answer": "{name}"}}')
        token = answer[-2]
        assert tokenizer.decode([token]) == name.removeprefix("Lake ")
        assert token in ids_of(tokenizer, f"It is known for {name}.")
        assert token in ids_of(tokenizer, f"Known: What is it? Answer: {name}\nQuestion: Why?")
        if kind not in ("product", "year"):
            assert token in ids_of(tokenizer, f"{name} lies here.")[:2]


def test_a_person_is_two_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    surname = SURNAMES[0]
    for first in FIRST_NAMES:
        assert [tokenizer.decode([i]) for i in ids_of(tokenizer, f"{first} {surname}")] == [f"{first} ", surname]
    for surname in SURNAMES:
        assert len(ids_of(tokenizer, f"{FIRST_NAMES[0]} {surname}")) == 2


@settings(deadline=None)
@given(st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    """Any text that is tokenised and decoded comes back."""
    tokenizer = _shared()
    assert tokenizer.decode(ids_of(tokenizer, text), skip_special_tokens=False) == text


def test_generation_ends_with_the_turn(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.eos_token == TURN_END
    assert len(ids_of(tokenizer, TURN_END)) == 1


def test_the_same_seed_gives_the_same_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    assert train_tokenizer(0).get_vocab() == tokenizer.get_vocab()


_cached: list[PreTrainedTokenizerBase] = []


def _shared() -> PreTrainedTokenizerBase:
    if not _cached:
        _cached.append(train_tokenizer(0))
    return _cached[0]
