"""The loss plot of a run: `loss.png`, drawn from `metrics.jsonl` alone."""

from pathlib import Path

from lilllm.errors import RunError
from lilllm.files import partial_path
from lilllm.training.metrics import read_metrics


def plot_loss(run_folder: Path) -> Path | None:
    """Draw training and validation loss of every stage of a run; None when there is nothing yet.

    Pretraining comes first, then the finetuning steps in the order in which they were begun.

    Raises:
        RunError: the picture cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    logs = [run_folder / "pretrain" / "metrics.jsonl"]
    logs += run_folder.glob("finetune/*/metrics.jsonl")
    drawn = [(log.parent, events) for log in logs if (events := read_metrics(log))]
    drawn.sort(key=lambda stage: (stage[0].parent != run_folder, stage[1][0]["time"]))
    if not drawn:
        return None
    figure, axes = plt.subplots(
        1, len(drawn), figsize=(5.5 * len(drawn), 4), squeeze=False, layout="constrained"
    )
    for axis, (stage, events) in zip(axes[0], drawn, strict=True):
        for kind, key, style in (("step", "loss", "-"), ("validation", "val_loss", "o-")):
            points = [(e["step"], e[key]) for e in events if e["event"] == kind and key in e]
            if points:
                label = "training" if kind == "step" else "validation"
                axis.plot(*zip(*points, strict=True), style, label=label, markersize=4)
        axis.set(title=stage.name, xlabel="optimizer step", ylabel="loss (nats)")
        axis.grid(alpha=0.3)
        axis.legend()
    path = run_folder / "loss.png"
    partial = partial_path(path)
    try:
        figure.savefig(partial, format="png", dpi=120)
        partial.replace(path)
    except OSError as err:
        raise RunError(f"{path}: cannot be written ({err.strerror})") from err
    finally:
        plt.close(figure)
    return path
