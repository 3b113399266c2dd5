"""Draws shares of the dense zero-shot average: against block weights removed, and against bytes stored."""

import pathlib
import sys

import comparison

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import plot  # noqa: E402

STYLES = ("-", "--", ":", "-.")


def panel(axes, model, across):
    """One model's lines, a colour a method and a stroke a calibration. @return  the rows that they show"""
    dense = model.dense
    calibrations = list(dict.fromkeys(row["calibration"] for row in model.rows if row["fraction"]))
    used = [dense]
    for method, colour in zip(("slicegpt", *comparison.OURS), plot.COLOURS):
        for calibration, style in zip(calibrations, STYLES):
            rows = [row for row in model.rows if (row["method"], row["calibration"]) == (method, calibration)]
            points = [(across(row, dense), 100 * comparison.retained(row, dense)[0]) for row in rows]
            plot.line(axes, points, colour, None, marker="o", linestyle=style)
            used += rows
        axes.plot([], [], color=colour, label=comparison.LABELS[method])
    for calibration, style in zip(calibrations, STYLES):
        axes.plot([], [], color=plot.GREY, linestyle=style, label=calibration)
    axes.plot([across(dense, dense)], [100], marker="s", color=plot.GREY, linestyle="", markersize=4, label="dense")
    axes.set_title(model.name, fontsize=9)
    return used


def removed(row, _):
    return 100 * comparison.removed(row)


def stored(row, dense):
    return 100 * row["bytes_stored"] / dense["bytes_stored"]


def draw(models, folder):
    """retained.svg; retained_bytes.svg where other tools' models were measured."""
    figures = [("retained.svg", removed, "block weights removed, %", False)]
    if any(row["benchmark"] == "peers" for model in models for row in model.rows):
        figures.append(("retained_bytes.svg", stored, "bytes stored, % of dense", True))
    with plot.matplotlib.rc_context(plot.STYLE):
        for name, across, label, others in figures:
            figure, axes = plot.panels(len(models), 4.2)
            used = []
            for place, model in zip(axes, models):
                used += panel(place, model, across)
                for row in model.rows if others else ():
                    if row["benchmark"] != "peers":
                        continue
                    point = across(row, model.dense), 100 * comparison.retained(row, model.dense)[0]
                    place.plot([point[0]], [point[1]], marker="s", color=plot.GREY, markersize=4)
                    place.annotate(row["method"], point, fontsize=6, xytext=(3, 3), textcoords="offset points")
                    used.append(row)
                place.set(xlabel=label)
            axes[0].set_ylabel("share of the dense average, %")
            axes[0].legend(fontsize=6)
            plot.save(figure, folder, name, used)
