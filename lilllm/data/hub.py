"""Datasets of the Hugging Face hub, streamed row by row; nothing is kept on disk."""

from collections.abc import Iterator
from typing import Any

from lilllm.errors import DataError

TIMEOUT_SECONDS = 5.0
OFFLINE_HINT = (
    "without a network use built-in rows instead, data.sources=[builtin:stories] and "
    "finetune.NAME.sources=[builtin:stories-instruct], or files of yours"
)


def hub_rows(path: str, split: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows of a split of `hf:org/name[:config]`, or of a local folder `hf:./name`, as they come.

    Raises:
        DataError: the hub cannot be reached, or has no such dataset, config or split.
    """
    require_hub(path)
    name, _, config = path.removeprefix("hf:").partition(":")
    import datasets

    datasets.disable_progress_bars()
    try:
        stream = datasets.load_dataset(name, config or None, split=split, streaming=True)
        for number, row in enumerate(stream, 1):
            yield dict(row), f"{path}: row {number}"
    except Exception as err:
        if not _is_foreign(err):
            raise
        raise DataError(f"{path}: cannot be read ({_reason(err)})", OFFLINE_HINT) from err


def require_hub(path: str) -> None:
    """Ask the hub one quick question: the library itself would try again for minutes.

    Raises:
        DataError: it cannot be reached, or has no such dataset.
    """
    name = path.removeprefix("hf:").partition(":")[0]
    if name.startswith((".", "/")):  # a folder of this machine
        return
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        HfApi().dataset_info(name, timeout=TIMEOUT_SECONDS)
    except HFValidationError as err:
        raise DataError(f"{path}: not the name of a hub dataset ({_reason(err)})") from err
    except HfHubHTTPError as err:
        raise DataError(f"{path}: the hub refuses it ({_reason(err)})", OFFLINE_HINT) from err
    except Exception as err:  # whatever the HTTP library raises for a failed connection
        raise DataError(
            f"{path}: the Hugging Face hub cannot be reached ({_reason(err)})", OFFLINE_HINT
        ) from err


def _is_foreign(err: BaseException) -> bool:
    """Whether an error comes from the outside: the network, the hub, the dataset's files."""
    packages = {
        "datasets",
        "huggingface_hub",
        "httpx",
        "httpcore",
        "requests",
        "urllib3",
        "pyarrow",
    }
    kinds = (OSError, ValueError, RuntimeError, KeyError, ImportError)
    return isinstance(err, kinds) or type(err).__module__.partition(".")[0] in packages


def _reason(err: BaseException) -> str:
    return f"{type(err).__name__}: {' '.join(str(err).split())[:200]}"
