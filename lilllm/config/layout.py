"""Where things are inside a run folder."""

from dataclasses import dataclass
from pathlib import Path

from lilllm.config.schema import Config

RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one run. `tokenizer` and `data` may belong to another run."""

    root: Path
    tokenizer: Path
    data: Path

    @property
    def pretrain(self) -> Path:
        """The pretraining stage: config.yaml, checkpoints, metrics.jsonl."""
        return self.root / "pretrain"

    @property
    def eval(self) -> Path:
        """Results of evaluation."""
        return self.root / "eval"

    @property
    def synth(self) -> Path:
        """Data that a model wrote: rows.jsonl, rejected.jsonl, settings.json."""
        return self.root / "synth"

    @property
    def feedback(self) -> Path:
        """What people thought of this run's answers."""
        return self.root / "feedback.jsonl"

    def finetune(self, step: str) -> Path:
        """The finetuning step named `step`; the same shape as `pretrain`."""
        return self.root / "finetune" / step


def layout(config: Config) -> Layout:
    """The folders that a config's stages read and write, relative to the working directory."""
    root = RUNS / config.name
    return Layout(
        root=root,
        tokenizer=Path(config.tokenizer.path) if config.tokenizer.path else root / "tokenizer",
        data=Path(config.data.path) if config.data.path else root / "data",
    )
