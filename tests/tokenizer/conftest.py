import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers

from lilllm.tokenizer import Tokenizer, train_bpe

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

CORPUS = [
    "Once upon a time, there was a little dog named Tim. Tim liked to play in the park.",
    "Lily didn't want to go home. “It's not late!” she said. 🙂 The little dog didn't mind.",
    "In 1999 there were 25 trees in the park; in 2024 there were 250.\n\nThe end.",
    "Es war einmal ein kleiner Hund. Était-il une fois un petit chien. 昔々、小さな犬がいました。",
] * 3


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    return CORPUS


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Finds real data beside the repository, or skips."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"no ../shared/data/{name} beside the repository")
        return path

    return find


@pytest.fixture(scope="session")
def trained() -> tokenizers.Tokenizer:
    return train_bpe(CORPUS, 512)


@pytest.fixture(scope="session")
def folder(trained: tokenizers.Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    Tokenizer.trained(trained).save(path)
    return path


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture
def chat_folder(
    trained: tokenizers.Tokenizer, tmp_path: Path
) -> Callable[[str, list[str], dict[str, str]], Path]:
    """Makes a foreign folder: our merges, other special tokens, another template."""

    def make(template: str, specials: list[str], settings: dict[str, str]) -> Path:
        inner = tokenizers.Tokenizer.from_str(trained.to_str())
        inner.add_special_tokens(specials)
        inner.save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "chat_template.jinja").write_text(template)
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **settings}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        return tmp_path

    return make
