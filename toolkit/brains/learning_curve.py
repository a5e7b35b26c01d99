"""The learning curve of a run as a picture."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from toolkit.files import replacing

# epoch: 3, lr: 1.00e-03 - train loss: 2.31, train seconds: 10.1 - valid WER: 24.10, valid loss: 1.20
FIGURE = re.compile(r"(train|valid) ([A-Za-z]\w*): ([-+]?(?:inf|nan|[-+.\deE]+))")
EPOCH = re.compile(r"epoch: (\d+)")

# What is drawn together, by title.
PANELS = {
    "loss": {"loss"},
    "error rate (%)": {"WER", "CER"},
    "perplexity": {"perplexity", "word_perplexity"},
}


def read_train_log(train_log: str | Path) -> dict[str, dict[int, float]]:
    """Figures by name (``"valid WER"``) and epoch; of an epoch that was logged twice, the later."""
    figures: dict[str, dict[int, float]] = defaultdict(dict)
    for line in Path(train_log).read_text(encoding="utf-8").splitlines():
        epoch = EPOCH.match(line)
        if epoch:
            for stage, name, value in FIGURE.findall(line):
                figures[f"{stage} {name}"][int(epoch[1])] = float(value)
    return dict(figures)


def plot_learning_curve(train_log: str | Path, png: str | Path) -> None:
    """Draw losses and, beside them, error rates or perplexities over epochs; an empty picture when there are none."""
    figures = read_train_log(train_log)
    there = {name.split()[1] for name in figures}
    panels = {title: wanted for title, wanted in PANELS.items() if wanted & there} or {"loss": set()}
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, wanted) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, values in figures.items():
            if name.split()[1] in wanted:
                axes.plot(list(values), list(values.values()), marker=".", label=name)
        if axes.lines:
            axes.legend()
        axes.set(title=title, xlabel="epoch", ylim=(0, None))
        axes.grid(alpha=0.3)
    with replacing(png) as partial:
        figure.savefig(partial, dpi=100)
