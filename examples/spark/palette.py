"""Finds the few colours that a photograph is made of: k-means over all of its pixels, which stay with the executors.

Spark reads the photograph. In each round the driver sends the colours, and the executors send back sums of the pixels that are
nearest to each.
"""

import io
from pathlib import Path

import numpy as np


def palette(context, spark, colours: int = 12, rounds: int = 15, parts: int = 4, seed: int = 1):
    """Finds so many `colours` in so many `rounds`; logs them as a table, and the photograph in these alone."""
    photo = photograph(spark)
    pixels = photo.reshape(-1, 3)
    shares = spark.sparkContext.parallelize(np.array_split(pixels, parts), parts).cache()
    chosen = np.random.default_rng(seed).choice(len(pixels), colours, replace=False)
    centres = pixels[chosen].astype(float)
    for number in range(rounds):
        sums, counts, error = shares.map(lambda share: summed(share, centres)).reduce(added)
        error = float(np.sqrt(error / len(pixels)))
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        apart, centres = float(np.abs(moved - centres).max()), moved
        print(f"round {number + 1:2d}: {error:6.2f} away from the photograph, colours moved by up to {apart:5.2f}", flush=True)
        if apart < 0.05:
            break
    few = np.concatenate(shares.map(lambda share: centres[nearest(share, centres)[0]]).collect())
    context.log_results({"pixels": len(pixels), "colours": int((counts > 0).sum()), "error": error})
    context.log_result("executors", spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1)
    context.log_dataset("palette", df=table(centres, counts), format="csv", index=False)
    context.log_artifact("picture", body=draw(photo, few.reshape(photo.shape), centres, counts), format="png")


def photograph(spark):
    """The pixels of a photograph that comes with scikit-learn: height x width x (red, green, blue)."""
    import sklearn.datasets

    path = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
    image = spark.read.format("image").load(str(path)).first().image
    pixels = np.frombuffer(bytes(image.data), dtype=np.uint8)
    return pixels.reshape(image.height, image.width, 3)[:, :, ::-1]


def nearest(pixels, centres):
    """Which colour each pixel is nearest to, and the squares of how far that is."""
    far = ((pixels[:, None, :].astype(np.float32) - centres[None].astype(np.float32)) ** 2).sum(axis=2)
    index = far.argmin(axis=1)
    return index, far[np.arange(len(pixels)), index]


def summed(pixels, centres):
    """The sum and the number of the pixels that are nearest to each colour, and how far all are from theirs."""
    index, far = nearest(pixels, centres)
    counts = np.bincount(index, minlength=len(centres))
    sums = np.stack([np.bincount(index, pixels[:, band], minlength=len(centres)) for band in range(3)], axis=1)
    return sums, counts, float(far.sum())


def added(one, other):
    return tuple(a + b for a, b in zip(one, other))


def table(centres, counts):
    """The colours, the most frequent first."""
    import pandas as pd

    rows = [
        ("#%02x%02x%02x" % tuple(int(round(band)) for band in centres[index]), int(counts[index]), round(100 * counts[index] / counts.sum(), 2))
        for index in np.argsort(-counts)
        if counts[index]
    ]
    return pd.DataFrame(rows, columns=["colour", "pixels", "percent"])


def draw(photo, few, centres, counts):
    """The photograph, the same in few colours, and these by their share."""
    import matplotlib.pyplot as plt

    figure, (left, right, below) = plt.subplots(3, 1, figsize=(6.4, 10), height_ratios=[1, 1, 0.25], layout="constrained")
    left.imshow(photo)
    left.set_title(f"{photo.shape[1]} x {photo.shape[0]} pixels, {len(np.unique(photo.reshape(-1, 3), axis=0))} colours")
    right.imshow(few / 255)
    right.set_title(f"in {(counts > 0).sum()} colours")
    begin = 0.0
    for index in np.argsort(-counts):
        share = counts[index] / counts.sum()
        below.barh(0, share, left=begin, color=centres[index] / 255)
        if share > 0.04:
            light = centres[index].mean() > 128
            below.text(begin + share / 2, 0, f"{100 * share:.0f} %", ha="center", va="center", color="black" if light else "white")
        begin += share
    below.set_xlim(0, 1)
    for axes in (left, right, below):
        axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()
