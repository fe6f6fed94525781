"""Quantization: a checkpoint in, a smaller one out, and what that costs in bits per byte.

The folder is read by our commands like any other checkpoint. How matrices are rounded is
`model/quantized.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lilllm.config import Config, layout
from lilllm.config.schema import SourceConfig
from lilllm.errors import ConfigError
from lilllm.events import Report
from lilllm.files import new_folder, write_atomic
from lilllm.interop.folder import copy_folder
from lilllm.model.checkpoint import OURS, WEIGHTS, save_model
from lilllm.model.quantized import Bits
from lilllm.stages.evaluate import score_split, score_texts
from lilllm.stages.export import EXPORTS, KEY, export_name, refuse_taken
from lilllm.stages.find_checkpoint import Loaded, load_checkpoint

BUILTIN = "builtin:stories"  # scored where a checkpoint has no data of its own
DOCUMENTS = 200


@dataclass(frozen=True, slots=True)
class QuantizeResult:
    """What was written, and bits per byte of `text` with the weights as they were and rounded.

    loss_percent: how much more bits per byte the rounded weights need.
    """

    checkpoint: Path
    path: Path
    bits: int
    bytes: int
    bytes_before: int
    text: str
    bpb_before: float
    bpb: float
    loss_percent: float


def run(
    folder: Path,
    bits: Bits,
    report: Report,
    *,
    out: Path | None = None,
    texts: Sequence[str] = (),
) -> QuantizeResult:
    """Write a checkpoint with its matrices in 8 or 4 bits, and measure the loss.

    Args:
        folder: a verified checkpoint folder.
        bits: of the matrices; embedding and output matrix always get 8.
        report: is told what is measured.
        out: folder to make; None: in `exports/`, named after the run.
        texts: files to measure with; by default the validation split of the checkpoint's run,
            else the built-in stories.

    Raises:
        ConfigError: `out` is taken by something else, or the model is a classifier.
        CheckpointError: the checkpoint cannot be read.
        DataError: a text is missing or empty.
        RunError: the disk is full or the folder cannot be written.
    """
    path = out or EXPORTS / f"{export_name(folder)}-int{bits}"
    refuse_taken(path, is_file=False)
    loaded = load_checkpoint(folder, device="cpu")
    if loaded.model.shape.n_labels:
        raise ConfigError(
            f"{folder}: a classifier, whose loss in bits per byte cannot be measured",
            "--to hf --dtype bf16 halves it",
        )
    text, before = _score(loaded, texts, report)
    with new_folder(path, {KEY: f"int{bits}"}) as partial:
        copy_folder(loaded.folder, partial, weights=False)
        save_model(
            partial,
            loaded.model,
            bos_id=loaded.first_id,
            eos_ids=sorted(loaded.stop_ids),
            pad_id=loaded.tokenizer.pad_id,
            generation=loaded.generate.model_dump(),
            bits=bits,
        )
        if (record := folder / OURS).is_file():
            write_atomic(partial / OURS, record.read_text(encoding="utf-8"))
    _, after = _score(load_checkpoint(path, device="cpu"), texts, report)
    return QuantizeResult(
        checkpoint=folder,
        path=path,
        bits=bits,
        bytes=(path / WEIGHTS).stat().st_size,
        bytes_before=sum(file.stat().st_size for file in folder.glob("*.safetensors")),
        text=text,
        bpb_before=before,
        bpb=after,
        loss_percent=100 * (after / before - 1),
    )


def _score(loaded: Loaded, texts: Sequence[str], report: Report) -> tuple[str, float]:
    """What was scored, and its bits per byte."""
    config = loaded.config or Config()
    section = config.eval.model_copy(update={"max_documents": DOCUMENTS})
    config = config.model_copy(update={"eval": section})
    data = layout(config).data
    if not texts and loaded.config is not None and data.is_dir():
        name = f"val split of {data}"
        measures = score_split(loaded.model, loaded.tokenizer, data, "val", section, report)
        if measures:
            return name, measures["bpb"]
    sources = tuple(SourceConfig(path=path) for path in texts or (BUILTIN,))
    return ", ".join(texts or (BUILTIN,)), score_texts(loaded, sources, config, report)["bpb"]
