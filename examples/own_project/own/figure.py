"""A figure of a run: its data in, a Matplotlib figure out."""

from matplotlib.figure import Figure

from dermaexp.report.run_data import RunData


def confidence(run: RunData, *, bins: int) -> Figure:
    """Histogram of the confidence in right and in wrong answers on test."""
    targets, probabilities = run.test
    is_right = probabilities.argmax(axis=1) == targets
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    highest = probabilities.max(axis=1)
    ax.hist([highest[is_right], highest[~is_right]], bins, label=["right", "wrong"], stacked=True)
    ax.set(xlabel="confidence", ylabel="test images", title=f"{run.name} on {run.data_title}")
    ax.legend()
    return figure
