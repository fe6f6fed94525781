"""`lilllm serve`: a checkpoint over HTTP."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lilllm.cli.arguments import Json, Overrides, Precision, check_precision, read_config

if TYPE_CHECKING:
    from lilllm.config import Config
    from lilllm.events import Report
    from lilllm.serving import FeedbackDesk, Service
    from lilllm.stages.find_checkpoint import Loaded

API_KEY = "LILLLM_API_KEY"


def serve(
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CHECKPOINT|CONFIG]",
            help="A checkpoint, stage or run folder, or a config; none: the newest under runs/.",
        ),
    ] = None,
    overrides: Overrides = None,
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind; 0: any free one.")] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help=f"A file with the key to ask for; or {API_KEY}.")
    ] = None,
    precision: Precision = "fp32",
    json: Json = False,
) -> None:
    """Serve a model: OpenAI's API under /v1, and a page to talk with it.

    Example: lilllm serve runs/demo --port 8080
    """
    from lilllm.cli.render import run_command
    from lilllm.events import Report

    given = {"host": host, "port": port, "api_key_file": api_key_file}
    options = [f"serve.{key}={value}" for key, value in given.items() if value is not None]

    def work(report: Report) -> object:
        from lilllm.kernels import prebuild

        prebuild("decode")  # while torch is imported
        from lilllm.config.load import is_config_file

        place, changes = target, [*(overrides or []), *options]
        if place is not None and "=" in str(place) and not place.exists():
            place, changes = None, [str(place), *changes]
        config = place if place is not None and is_config_file(place) else None
        settings = read_config(config, changes)  # wrong ones are told before anything is loaded
        check_precision(precision)
        _refuse_training_precision(changes)
        from lilllm.stages.find_checkpoint import find_checkpoint, load_checkpoint

        folder = find_checkpoint(settings if config else place, report, chat=True)
        loaded = load_checkpoint(folder, device=settings.device, precision=precision)
        if config is None:
            settings = _with_own_settings(loaded, changes)
        return _serve(_service(loaded, settings, report), loaded, report)

    run_command("serve", json, work)


def _refuse_training_precision(changes: list[str]) -> None:
    from lilllm.errors import ConfigError

    for change in changes:
        key, _, value = change.partition("=")
        if key == "precision":
            raise ConfigError(
                f"{change}: this key is the precision of training",
                f"`--precision {value if value != 'auto' else 'fp32'}` says how the model answers",
            )


def _with_own_settings(loaded: "Loaded", changes: list[str]) -> "Config":
    """The config that a checkpoint was made with, its sampling options, and changes over both."""
    from lilllm.config import Config
    from lilllm.config.load import override_config

    own = (loaded.config or Config()).model_copy(update={"generate": loaded.generate})
    return override_config(own, changes)


def _service(loaded: "Loaded", settings: "Config", report: "Report") -> "Service":
    from lilllm.serving import ServedModel, Service
    from lilllm.stages.generate import make_engine

    model = ServedModel(
        name=loaded.config.name if loaded.config else loaded.folder.resolve().name,
        created=int(loaded.folder.stat().st_mtime),
        tokenizer=loaded.tokenizer,
        first_id=loaded.first_id,
        context=loaded.model.shape.max_seq_len,
        chats=loaded.chat_trained and loaded.tokenizer.chat_template is not None,
        defaults=settings.generate,
    )
    engine = make_engine(loaded)
    engine.max_streams = settings.serve.max_running
    return Service(
        model, engine, settings.serve, _api_key(settings), report, _feedback(loaded, report)
    )


def _feedback(loaded: "Loaded", report: "Report") -> "FeedbackDesk":
    from lilllm.data.journal import Journal
    from lilllm.model.checkpoint import weights_hash
    from lilllm.serving import FeedbackDesk
    from lilllm.stages.collect_feedback import default_path, read_prompts

    path = default_path(loaded)
    questions = read_prompts("builtin:stories-words", seed=0)
    return FeedbackDesk(
        keep=lambda row: Journal(path, report).append([row]),
        question=lambda: next(questions),
        checkpoint=str(loaded.folder),
        weights=weights_hash(loaded.folder),
    )


def _api_key(settings: "Config") -> str | None:
    from lilllm.errors import ConfigError

    path = settings.serve.api_key_file
    if path is None:
        return os.environ.get(API_KEY) or None
    try:
        key = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(
            f"serve.api_key_file={path}: cannot be read ({err})",
            f"name a UTF-8 file with the key in it, or put the key into {API_KEY}",
        ) from err
    if not key:
        raise ConfigError(f"serve.api_key_file={path}: is empty", "write the key into it")
    return key


def _serve(service: "Service", loaded: "Loaded", report: "Report") -> dict[str, object]:
    from lilllm.events import Caution, Note
    from lilllm.serving import LOOPBACK, serve

    if service.api_key is None and service.settings.host not in LOOPBACK:
        report(
            Caution(
                "everyone who reaches this machine can use the model, and no feedback is taken;"
                f" {API_KEY} asks for a key"
            )
        )

    def ready(address: str) -> None:
        kind = "a chat model" if service.model.chats else "a base model: it continues text"
        report(Note(f"{service.model.name}, {kind}, is at {address} (API: {address}/v1)"))
        report(Note("Ctrl-C or SIGTERM lets running requests finish and ends"))

    serve(service, ready)
    return {
        "checkpoint": loaded.folder,
        "requests": service.metrics.whole.count,
        "generated_tokens": service.metrics.generated_tokens,
    }
