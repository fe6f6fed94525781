"""Keys of a finetuning step: which its weights depend on, and which its method reads."""

from pathlib import Path

from lilllm.config import Config, layout
from lilllm.config.schema import FinetuneConfig
from lilllm.config.schema.finetune import UNPACKED
from lilllm.errors import ConfigError


def stage_keys(config: Config, name: str) -> tuple[str, ...]:
    """The config keys that the weights of a step depend on, besides its base."""
    dropout = ("model.dropout",) if config.finetune[name].dropout is None else ()
    return ("seed", "device", "precision", "threads", f"finetune.{name}", *dropout)


HEEDED_BY = {
    "batch_rows": UNPACKED,
    "format": frozenset({"sft", "dpo", "distill", "grpo"}),
    "label_smoothing": frozenset({"sft"}),
    "dpo": frozenset({"dpo"}),
    **dict.fromkeys(
        ("teacher", "teacher_weight", "teacher_temperature", "teacher_top_k", "teacher_logits"),
        frozenset({"distill"}),
    ),
    **dict.fromkeys(
        (
            *("rewards", "group_size", "answer_tokens", "judge_cut_answers"),
            *("kl_weight", "likelihood_weight", "divide_by_std"),
        ),
        frozenset({"grpo"}),
    ),
}
"""Keys of a step that not all methods read, and which of them do."""


def check_keys(config: Config, name: str) -> None:
    """Do nothing if the method of a step heeds every key that is set, and its base is not its run.

    Stored configs of older runs may hold such keys, so the schema accepts them.

    Raises:
        ConfigError: it would ignore one, or the base is the run itself.
    """
    section, step = config.finetune[name], f"finetune.{name}"
    root = layout(config).root
    if Path(section.base).resolve() == root.resolve():
        raise ConfigError(
            f"{step}.base: {section.base} is this very run, whose last stage may be this step",
            f"auto is the step before; or name a stage, for example {layout(config).pretrain}",
        )
    instead = {"batch_rows": f"{step}.batch_tokens says how large its steps are; "}
    if section.method == "dpo":
        instead["label_smoothing"] = f"{step}.dpo.label_smoothing is what dpo reads; "
    for key, methods in HEEDED_BY.items():
        default = FinetuneConfig.model_fields[key].get_default()
        if section.method not in methods and getattr(section, key) != default:
            others = ", ".join(sorted(methods))
            raise ConfigError(
                f"{step}.{key} is read by {others}, not by {section.method}",
                instead.get(key, "") + f"leave {key} out",
            )
    if section.too_long == "split" and section.method in UNPACKED:
        raise ConfigError(
            f"{step}.too_long=split: {section.method} needs whole rows", f"{step}.too_long=drop"
        )
    for source in section.sources:
        if source.weight != 1:
            raise ConfigError(
                f"{step}.sources: weight={source.weight:g} of {source.path}: finetuning reads "
                "every row once a pass",
                "list the source twice, or take the first of its rows with `documents`",
            )
