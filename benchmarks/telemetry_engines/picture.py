"""Plots the results: CPU seconds and peak memory of every engine, one row of bars per input."""

from collections.abc import Callable
from pathlib import Path
from statistics import median

import matplotlib as mpl  # pyright: ignore[reportMissingImports]  -- in the group "bench", not in the project
from matplotlib import pyplot as plt  # pyright: ignore[reportMissingImports]  -- as above
from measuring import Measurement

from telemetry_engines.report import InputRuns

_OURS, _OTHERS, _WHISKERS = "#1b6ca8", "#a9b4bf", "#33383d"
_WIDTH, _HEAD, _ROW, _BAR = 11, 0.6, 0.8, 0.3  # inches


def draw(inputs: list[InputRuns], titles: dict[str, str], path: Path) -> None:
    """Write the plot as PNG.

    Args:
        inputs: The measured inputs; engines that were left out have no bar.
        titles: Name of each engine in the plot.
        path: Path of the PNG file.
    """
    mpl.use("Agg")  # needs no display
    heights = [_ROW + _BAR * len(runs.engines) for runs in inputs]
    figure, axes = plt.subplots(
        len(inputs),
        2,
        figsize=(_WIDTH, _HEAD + sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for (cpu, memory), runs in zip(axes, inputs, strict=True):
        _bars(cpu, runs, titles, lambda run: run.cpu_s, "{:,.2f} s")
        _bars(memory, runs, titles, lambda run: run.peak_mb, "{:,.0f} MB")
        cpu.set_title(f"{runs.name}: CPU seconds", loc="left", fontweight="bold")
        memory.set_title(f"{runs.name}: peak memory, MB", loc="left", fontweight="bold")
        memory.set_yticklabels([])
    figure.suptitle("Telemetry, long CSV to wide Parquet. Bars: medians; whiskers: minimum to maximum. Less is better.")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _bars(
    axis: plt.Axes, runs: InputRuns, titles: dict[str, str], figure: Callable[[Measurement], float], label: str
) -> None:
    measured = {name: [figure(run) for run in engine.runs] for name, engine in runs.engines.items() if not engine.note}
    for position, (name, found) in enumerate(measured.items()):
        middle, largest = median(found), max(found)
        whiskers = ([middle - min(found)], [largest - middle])
        color = _OURS if name == "ours" else _OTHERS
        axis.barh(position, middle, 0.7, color=color, xerr=whiskers, ecolor=_WHISKERS, capsize=3)
        axis.annotate(label.format(middle), (largest, position), xytext=(6, 0), textcoords="offset points", va="center")
    axis.set_yticks(range(len(measured)), [titles[name] for name in measured])
    axis.invert_yaxis()
    axis.margins(x=0.2)
    axis.set_xlim(left=0)
    axis.spines[["top", "right"]].set_visible(False)
