"""A run folder as training leaves it, made in a moment: a tokenizer, data, checkpoints."""

import json
from pathlib import Path

import torch
import yaml

from lilllm.config import Config
from lilllm.files import new_folder, write_atomic
from lilllm.model import Shape, Transformer, save_model
from lilllm.tokenizer import Tokenizer, train_bpe
from lilllm.tokenizer.tokenizer import OUR_SETTINGS

TEXTS = [
    "Once upon a time there was a cat who loved the sun.",
    "The cat sat on the warm stone and slept.",
    "A dog came by and said hello to the cat. 🐈 Grüße!",
    "They played until the moon came up over the hill.",
] * 3
CHATML = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONFIG = {
    "name": "tiny",
    "model": {"d_model": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "d_ff": 48}
    | {"max_seq_len": 64, "qk_norm": False},
    "generate": {"max_new_tokens": 12, "temperature": 0.7, "prompts": ["The cat"]},
}


def tiny_tokenizer() -> Tokenizer:
    return Tokenizer(train_bpe(TEXTS, 300).to_str(), OUR_SETTINGS, CHATML)


def tiny_model(seed: int = 0, qk_norm: bool = False) -> Transformer:
    model = Transformer(Shape(304, 32, 2, 2, 1, 48, 64, qk_norm=qk_norm), seed=seed)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(10)
    return model


def write_checkpoint(folder: Path, *, base: str | None = None, seed: int = 0) -> Path:
    """A checkpoint folder with its manifest; `base` makes it a finetuned one."""
    tokenizer = tiny_tokenizer()
    config = Config.model_validate(CONFIG)
    record = {"config": config.model_dump(mode="json")} | ({"base": base} if base else {})
    with new_folder(folder) as partial:
        save_model(
            partial,
            tiny_model(seed),
            bos_id=0,
            eos_ids=[0, 2],
            pad_id=3,
            generation=config.generate.model_dump(mode="json"),
        )
        tokenizer.save(partial)
        write_atomic(partial / "lilllm.yaml", yaml.safe_dump(record))
    write_atomic(folder.parent / "latest", folder.name + "\n")
    return folder


def write_config(path: Path, **more: object) -> Path:
    path.write_text(json.dumps(CONFIG | more))  # JSON is YAML
    return path


def damage(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-3] ^= 255
    weights.write_bytes(raw)
