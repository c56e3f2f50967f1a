"""Finds the support vector machine that reads handwritten digits best. Each fit is a task of a Dask worker."""

import csv
import io
import math


def sweep(context, points: int = 9, folds: int = 3):
    """Tries `points` x `points` machines by cross-validation; logs the best, a picture of all, and a table."""
    from distributed import as_completed

    client = context.dask_client
    images, labels = digits()
    cells = [(c, gamma) for c in powers(-1, 3, points) for gamma in powers(-4, 0, points)]
    print(f"{len(labels)} digits, {len(cells)} machines, {folds} fits of each", flush=True)

    # Sent to the workers once, not with each task.
    data = client.scatter((images, labels), broadcast=True)
    tasks = {
        client.submit(fit, data, c, gamma, fold, folds): ((c, gamma), fold)
        for c, gamma in cells
        for fold in range(folds)
    }
    guesses, by, done = {cell: [None] * len(labels) for cell in cells}, {}, 0
    for task, (guessed, worker) in as_completed(tasks, with_results=True):
        cell, fold = tasks[task]
        guesses[cell][fold::folds] = guessed
        by[worker] = by.get(worker, 0) + 1
        done += 1
        if done % (len(tasks) // 8 or 1) == 0:
            print(f"{done:4d} of {len(tasks)} fits", flush=True)

    right = {cell: sum(map(int.__eq__, labels, guesses[cell])) for cell in cells}
    best = max(cells, key=right.get)
    wrong = [row for row, label in enumerate(labels) if guesses[best][row] != label]
    accuracy = {cell: right[cell] / len(labels) for cell in cells}
    print(f"best: C={best[0]:.3g}, gamma={best[1]:.3g}, accuracy {accuracy[best]:.4f}; {len(wrong)} digits misread")

    context.log_results({"accuracy": accuracy[best], "c": best[0], "gamma": best[1], "misread": len(wrong)})
    context.log_result("fits", {worker: by[worker] for worker in sorted(by)})
    misread = [(images[row], labels[row], guesses[best][row]) for row in wrong]
    context.log_artifact("sweep", body=draw(accuracy, best, misread), format="png")
    context.log_artifact("machines", body=table(accuracy), format="csv")


def digits():
    """1797 pictures of 8 x 8 pixels, each as 64 numbers from 0 to 1, and the digit that each shows."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.data / 16, found.target.tolist()


def powers(first, last, points):
    """Numbers from 10**first to 10**last, each as many times the one before."""
    return [10 ** (first + (last - first) * step / max(1, points - 1)) for step in range(points)]


def exponents(numbers):
    """The powers of 10 that numbers are."""
    return [math.log10(number) for number in numbers]


def fit(data, c, gamma, fold, folds):
    """On a worker: trains a machine on all digits but every `folds`th, and reads those. Also says which worker it is."""
    from distributed import get_worker
    from sklearn.svm import SVC

    images, labels = data
    unseen = range(fold, len(labels), folds)
    seen = [row for row in range(len(labels)) if row % folds != fold]
    machine = SVC(C=c, gamma=gamma).fit(images[seen], [labels[row] for row in seen])
    return machine.predict(images[unseen]).tolist(), str(get_worker().name)


def draw(accuracy, best, misread):
    """How well each machine reads, and what the best one got wrong, as a PNG picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(5, 4))

    axes = left.subplots()
    cs, gammas = sorted({c for c, _ in accuracy}), sorted({gamma for _, gamma in accuracy})
    # Of good machines it is the errors that differ.
    errors = [[100 - 100 * accuracy[c, gamma] for gamma in gammas] for c in cs]
    shown = axes.pcolormesh(*map(exponents, (gammas, cs)), errors, cmap="viridis_r", norm="log", edgecolors="w", lw=0.5)
    axes.plot(*exponents((best[1], best[0])), marker="*", markersize=16, color="white", markeredgecolor="black")
    axes.set(xlabel="gamma, power of 10", ylabel="C, power of 10", title="Digits misread, %")
    bar = left.colorbar(shown, ax=axes, ticks=[1, 2, 5, 10, 20, 50, 90], format="%g")
    bar.minorticks_off()

    panels = list(right.subplots(4, 5).flat)
    right.suptitle(f"The best ($\\bigstar$) misread {len(misread)}" + "; some of them" * (len(misread) > len(panels)))
    for panel in panels:
        panel.axis("off")
    for panel, (image, label, guessed) in zip(panels, misread):
        panel.imshow(image.reshape(8, 8), cmap="gray_r")
        panel.set_title(f"{label}, not {guessed}", fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def table(accuracy):
    """All machines with their accuracy, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["c", "gamma", "accuracy"])
    writer.writerows([f"{c:.6g}", f"{gamma:.6g}", f"{share:.6f}"] for (c, gamma), share in accuracy.items())
    return text.getvalue()
