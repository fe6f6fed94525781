"""Evaluation: a checkpoint and texts in, measures out.

Which checkpoint is `find_checkpoint.py`; how a measure is computed is `evaluation/`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

from lilllm.config import Config, layout, load_config
from lilllm.config.load import override_config
from lilllm.config.schema import EvalConfig, SourceConfig
from lilllm.data.shards import Shards
from lilllm.errors import ConfigError, DataError
from lilllm.evaluation import bits_per_byte
from lilllm.events import Note, Report, counting, silent
from lilllm.files import MANIFEST
from lilllm.model.checkpoint import load_labels
from lilllm.model.transformer import Transformer
from lilllm.stages.find_checkpoint import Loaded, find_checkpoint, load_checkpoint
from lilllm.stages.score_tasks import Scorer
from lilllm.tokenizer import Tokenizer

Measures = dict[str, float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EvalResult:
    """Measures of one checkpoint, by task; `text` says what was scored."""

    checkpoint: Path
    text: str
    tasks: dict[str, dict[str, Any]]


def run(config: Config, report: Report) -> EvalResult:
    """Score the newest checkpoint of a config's last stage, as its `eval` section says.

    Raises:
        CheckpointError: there is none, or it cannot be read.
        DataError: the texts are missing, damaged or empty.
    """
    places = layout(config)
    stages = [places.finetune(name) for name in reversed(config.finetune)]
    last = next((stage for stage in stages if any(stage.glob("step-*"))), places.pretrain)
    checkpoint = find_checkpoint(last, report)
    return run_checkpoint(checkpoint, report, config=config)


def run_checkpoint(
    checkpoint: Path,
    report: Report,
    *,
    config: Config | None = None,
    overrides: Sequence[str] = (),
    texts: Sequence[str] = (),
    split: str | None = None,
) -> EvalResult:
    """Score one checkpoint.

    Args:
        checkpoint: a verified folder.
        report: is told how far it is.
        config: whose `eval` section and data to use; by default those of the checkpoint's run.
        overrides: `key=value` over the config of the checkpoint's run; not with `config`.
        texts: files (or other source paths) to score instead.
        split: `val` or `train` of the prepared data; by default `eval.sources`, else `val`.

    Raises:
        CheckpointError: it cannot be read.
        ConfigError: an override is wrong, or texts and a split do not go together.
        DataError: the texts are missing, damaged or empty.
    """
    assert config is None or not overrides
    if texts and split is not None:
        raise ConfigError(f"--text {texts[0]} and --split {split}: one or the other")
    given = config or load_config(None, overrides)
    loaded = load_checkpoint(checkpoint, device=given.device)
    sources = tuple(SourceConfig(path=path) for path in texts)
    if config is None and loaded.config is not None:
        config = override_config(loaded.config, overrides)
    elif config is None and not (
        sources or given.eval.sources or given.data.path or given.eval.tasks
    ):
        raise DataError(
            f"{checkpoint}: an imported model has no prepared data of its own",
            "name a text file to score, for example --text story.txt",
        )
    config = config or given
    if not sources and split is None:
        sources = config.eval.sources
    if loaded.model.shape.n_labels and (texts or split):
        raise ConfigError(
            f"{checkpoint}: a classifier, which gives no text a probability",
            "leave out --text and --split; eval.tasks says what it is scored on",
        )
    if loaded.model.shape.n_labels or (config.eval.tasks and not (sources or split)):
        return _score_tasks(loaded, config, report)
    if sources:
        name = ", ".join(source.path for source in sources)
        measures = score_texts(loaded, sources, config, report)
    else:
        folder, split = layout(config).data, split or "val"
        name = f"{split} split of {folder}"
        measures = score_split(loaded.model, loaded.tokenizer, folder, split, config.eval, report)
    if not measures:
        raise DataError(f"{name}: no documents to score", "name a text file with --text")
    return EvalResult(checkpoint, name, {"bpb": measures})


def _score_tasks(loaded: Loaded, config: Config, report: Report) -> EvalResult:
    """The tasks of a config, and bits per byte too where there is data and text can be written.

    Raises:
        DataError: the config names no tasks, or one cannot be scored.
    """
    if not config.eval.tasks:
        raise DataError(
            f"{loaded.folder}: a classifier is scored on labelled texts, and eval.tasks is empty",
            "for example eval.tasks.test={kind: classification, sources: [test.tsv]}",
        )
    if "bpb" in config.eval.tasks:
        raise ConfigError(
            "eval.tasks.bpb: results hold bits per byte by this name", "give the task another name"
        )
    scorer = Scorer(
        loaded.model,
        loaded.tokenizer,
        loaded.stop_ids,
        load_labels(loaded.folder),
        config.seed,
        report,
    )
    tasks = {name: scorer.score(name, task) for name, task in config.eval.tasks.items()}
    text = ", ".join(config.eval.tasks)
    folder = layout(config).data
    if not loaded.model.shape.n_labels and (folder / MANIFEST).is_file():
        section = config.eval
        measures = score_split(loaded.model, loaded.tokenizer, folder, "val", section, report)
        if measures:
            return EvalResult(
                loaded.folder, f"val split of {folder}, {text}", tasks | {"bpb": measures}
            )
    return EvalResult(loaded.folder, text, tasks)


def score_split(
    model: Transformer,
    tokenizer: Tokenizer,
    folder: Path,
    split: str,
    section: EvalConfig,
    report: Report = silent,
) -> Measures:
    """Bits per byte of a split of prepared data; nothing when the split has no documents.

    With another tokenizer than the model's, the documents cannot be scored as they are.

    Raises:
        DataError: the data is missing, damaged or of another tokenizer.
    """
    shards = Shards.open(folder, split)
    if shards.tokenizer_hash != tokenizer.hash:
        raise DataError(
            f"{folder}: made with another tokenizer than the checkpoint's",
            "score text instead, for example --text story.txt",
        )
    if not shards.n_documents:
        return {}
    count = min(shards.n_documents, section.max_documents or shards.n_documents)
    ends = shards.document_ends[:count].tolist()
    documents: Iterator[list[int]] = (  # without the end-of-text that follows each
        shards.read(start, end - 1).tolist() for start, end in pairwise([0, *ends])
    )
    n_bytes: int | Callable[[], int] = shards.n_bytes
    if count < shards.n_documents:  # the manifest counts all; decoding a document is exact
        counted = _ByteCount()
        documents = counted.watch(
            documents, lambda ids: len(tokenizer.decode(ids, skip_special=False).encode())
        )
        n_bytes = counted.total
    return _measure(model, tokenizer, documents, n_bytes, section, report, ends[-1])


def score_texts(
    loaded: Loaded, sources: Sequence[SourceConfig], config: Config, report: Report
) -> Measures:
    """Bits per byte of the documents of some sources, tokenized now.

    Raises:
        DataError: a source is missing or cannot be read.
    """
    texts = islice(_texts(sources, config.data.on_bad_row), config.eval.max_documents)
    counted = _ByteCount()
    watched = counted.watch(texts, lambda text: len(text.encode()))
    documents = (loaded.tokenizer.encode(text) for text in watched)
    return _measure(
        loaded.model, loaded.tokenizer, documents, counted.total, config.eval, report, 0
    )


class _ByteCount:
    """Adds up the bytes of items while they pass through."""

    def __init__(self) -> None:
        self.bytes = 0

    def total(self) -> int:
        return self.bytes

    def watch(self, items: Iterable[T], size: Callable[[T], int]) -> Iterator[T]:
        for item in items:
            self.bytes += size(item)
            yield item


def _texts(sources: Sequence[SourceConfig], on_bad_row: Literal["refuse", "skip"]) -> Iterator[str]:
    from lilllm.data import read_documents

    for source in sources:
        for document in read_documents(source, on_bad_row=on_bad_row):
            if text := document.text.strip():
                yield text


def _measure(
    model: Transformer,
    tokenizer: Tokenizer,
    documents: Iterable[list[int]],
    n_bytes: int | Callable[[], int],
    section: EvalConfig,
    report: Report,
    total: int,
) -> Measures:
    measures = bits_per_byte(
        model,
        documents,
        n_bytes,
        bos_id=tokenizer.end_id if tokenizer.bos_id is None else tokenizer.bos_id,
        end_id=tokenizer.end_id,
        batch_tokens=section.batch_tokens,
        on_progress=counting(report, "eval", total, "tokens"),
    )
    if measures["documents"] == section.max_documents:
        report(Note(f"the first {section.max_documents:,} documents: eval.max_documents"))
    return measures
