"""A picture of a confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

from lilllm.errors import RunError
from lilllm.files import partial_path


def plot_confusion(path: Path, confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
    """Draw how often each label (rows) was taken for each (columns).

    Raises:
        RunError: the picture cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = [*labels, "no label"][: len(confusion[0])]
    size = 2.5 + 0.6 * len(columns)
    figure, axis = plt.subplots(figsize=(size, size), layout="constrained")
    axis.imshow(confusion, cmap="Blues")
    most = max(map(max, confusion))
    for i, row in enumerate(confusion):
        for j, count in enumerate(row):
            color = "white" if count > most / 2 else "black"
            axis.text(j, i, f"{count:,}", ha="center", va="center", color=color)
    axis.set(xlabel="found", ylabel="right")
    axis.set_xticks(range(len(columns)), columns, rotation=45)
    axis.set_yticks(range(len(labels)), labels)
    partial = partial_path(path)
    try:
        figure.savefig(partial, format="png", dpi=120)
        partial.replace(path)
    except OSError as err:
        raise RunError(f"{path}: cannot be written ({err.strerror})") from err
    finally:
        plt.close(figure)
