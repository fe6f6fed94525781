"""Sample texts shown while training."""

from collections.abc import Sequence

from lilllm.config import Config
from lilllm.inference.engine import Engine
from lilllm.model.transformer import Transformer
from lilllm.tokenizer import StreamDecoder, Tokenizer


def sample_texts(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[str], config: Config
) -> list[tuple[str, str]]:
    """What the model writes after each prompt, with the config's `generate` settings."""
    engine = Engine(
        model, stop_ids=tokenizer.stop_ids, new_decoder=lambda: StreamDecoder(tokenizer)
    )
    return [
        (prompt, engine.generate(ids, config.generate, seed=config.seed).samples[0].text)
        for prompt in prompts
        if (ids := tokenizer.encode_prompt(prompt))
    ]
