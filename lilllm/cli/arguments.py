"""The arguments that commands share, and how CONFIG and `key=value` become a config."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from lilllm.config import Config

Bits = Literal[8, 4]
ConfigPath = Annotated[  # a string: as a path, the // of an override's URL would become /
    str | None, typer.Argument(metavar="[CONFIG]", help="A YAML file; none: the defaults.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example pretrain.lr=3e-4.")
]
Quantize = Annotated[
    str | None, typer.Option(help="Round the weights to int8 or int4, with steps for every 32.")
]
Precision = Annotated[str, typer.Option(help="Compute in fp32, bf16 or fp16.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
NoBuild = Annotated[
    bool, typer.Option("--no-build", help="Refuse instead of building what is missing.")
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Move the stage's old result aside and start again.")
]


def read_config(config: Path | str | None, overrides: list[str] | None) -> "Config":
    """Load CONFIG with its overrides; a first argument like `seed=1` is an override too.

    Raises:
        ConfigError: with every problem found.
    """
    from lilllm.config import load_config

    settings = list(overrides or [])
    if config is not None and "=" in str(config) and not Path(config).exists():
        settings.insert(0, str(config))
        config = None
    return load_config(None if config is None else Path(config), settings)


def bits_of(quantize: str | None) -> Bits | None:
    """The bits that `--quantize` names.

    Raises:
        ConfigError: neither int8 nor int4.
    """
    from lilllm.errors import ConfigError

    if quantize is None:
        return None
    known: dict[str, Bits] = {"int8": 8, "int4": 4}
    if quantize not in known:
        raise ConfigError(f"--quantize {quantize}: not known", f"one of {', '.join(known)}")
    return known[quantize]


def check_precision(precision: str) -> None:
    """Refuse what `--precision` cannot be.

    Raises:
        ConfigError: neither fp32, bf16 nor fp16.
    """
    from lilllm.errors import ConfigError

    known = ("fp32", "bf16", "fp16")
    if precision not in known:
        raise ConfigError(f"--precision {precision}: not known", f"one of {', '.join(known)}")
