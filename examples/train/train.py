"""Tells from which of three cultivars a wine was made, by thirteen measurements of its chemistry."""

import csv
import io
import pickle
from pathlib import Path

WINES = Path(__file__).parent / "wine.csv"


def train(
    context,
    data: Path = WINES,
    trees: int = 120,
    max_depth: int = 4,
    test_size: float = 0.3,
    seed: int = 7,
):
    """Trains a random forest on `data`, whose last column is the class, and logs how well it does."""
    measured, classes, columns = read(data)
    labels = sorted(set(classes))
    print(f"{len(classes)} wines, {len(columns)} measurements each, {len(labels)} cultivars", flush=True)

    model, rows, truth = fit(measured, classes, trees, max_depth, test_size, seed)
    guesses = model.predict(rows).tolist()
    scores = score(truth, guesses)
    counts = count(truth, guesses, labels)
    print("accuracy {accuracy:.3f}, f1 {f1:.3f} on {tested} wines it had not seen".format(**scores))

    importance = sorted(zip(model.feature_importances_.tolist(), columns), reverse=True)
    context.log_results(scores)
    context.log_result("most_telling", [name for _, name in importance[:3]])
    context.log_artifact("confusion-matrix", body=draw(counts, labels), format="png")
    context.log_artifact("predictions", body=table(columns, rows, truth, guesses), format="csv")
    context.log_model(
        "wine-model",
        body=pickle.dumps(model),
        model_file="model.pkl",
        framework="sklearn",
        metrics=scores,
        parameters={"trees": trees, "max_depth": max_depth},
    )


def read(path):
    """The measurements, the class of each row, and the names of the measured columns."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if not rows:
        raise ValueError(f"{path} has no rows")
    return [[float(cell) for cell in row[:-1]] for row in rows], [row[-1] for row in rows], header[:-1]


def fit(measured, classes, trees, max_depth, test_size, seed):
    """Grows the forest, twice the trees at each step, and tries it on rows kept aside for the test."""
    # Imported here: this takes longer than the training, and the first line is printed before it.
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    seen, unseen, known, truth = train_test_split(
        measured, classes, test_size=test_size, random_state=seed, stratify=classes
    )
    model = RandomForestClassifier(
        n_estimators=0, max_depth=max_depth, warm_start=True, random_state=seed
    )
    while model.n_estimators < trees:
        model.n_estimators = min(trees, model.n_estimators * 2 or 1)
        model.fit(seen, known)
        print(f"{model.n_estimators:4d} trees: accuracy {model.score(unseen, truth):.3f}", flush=True)
    return model, unseen, truth


def score(truth, guesses):
    """How well it does on rows that it has not seen."""
    from sklearn.metrics import accuracy_score, f1_score

    return {
        "accuracy": float(accuracy_score(truth, guesses)),
        "f1": float(f1_score(truth, guesses, average="macro")),
        "tested": len(truth),
    }


def count(truth, guesses, labels):
    """How often each class was taken for each."""
    pairs = list(zip(truth, guesses))
    return [[pairs.count((true, guess)) for guess in labels] for true in labels]


def draw(counts, labels):
    """The confusion matrix as a PNG picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(counts, cmap="Purples")
    axes.set(xlabel="predicted", ylabel="true", title="Cultivar")
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    most = max(map(max, counts))
    for row, line in enumerate(counts):
        for column, number in enumerate(line):
            color = "white" if number > most / 2 else "black"
            axes.text(column, row, str(number), ha="center", va="center", color=color)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def table(columns, rows, truth, guesses):
    """The tested rows with their true and their predicted class, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, "cultivar", "predicted"])
    writer.writerows([*row, true, guess] for row, true, guess in zip(rows, truth, guesses))
    return text.getvalue()


if __name__ == "__main__":
    # Without a runtime: the same training, its scores printed.
    measured, classes, _ = read(WINES)
    model, rows, truth = fit(measured, classes, trees=120, max_depth=4, test_size=0.3, seed=7)
    print(score(truth, model.predict(rows).tolist()))
