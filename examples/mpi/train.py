"""Trains a small network on handwritten digits with several ranks, each of which has a share of the digits.

After each step all ranks hold the same network: they add up their gradients (`Allreduce`) before they follow them.
"""

import io

import numpy as np
from mpi4py import MPI

RANKS = MPI.COMM_WORLD


def train(context, epochs: int = 40, hidden: int = 64, batch: int = 32, rate: float = 0.4, seed: int = 1):
    """Trains for so many `epochs` with batches of `batch` digits on all ranks together; logs how well it reads digits
    that it has not seen, and a picture."""
    rank, size = RANKS.Get_rank(), RANKS.Get_size()
    images, labels, unseen, truth = digits()
    network = Network(hidden, seed)
    order, mine = np.random.default_rng(seed), slice(rank, None, size)
    curve, waited, began = [], 0.0, MPI.Wtime()
    for epoch in range(epochs):
        loss = 0.0
        # All ranks draw the same order, and take each their part of every batch.
        shuffled = order.permutation(len(labels))
        for first in range(0, len(labels), batch):
            rows = shuffled[first : first + batch]
            own, gradient = network.gradient(images[rows[mine]], labels[rows[mine]], len(rows))
            asked = MPI.Wtime()
            sums = np.append(gradient, own)
            RANKS.Allreduce(MPI.IN_PLACE, sums)
            waited += MPI.Wtime() - asked
            network.weights -= rate * (1 - epoch / epochs) * sums[:-1]
            loss += sums[-1] * len(rows) / len(labels)
        right = RANKS.allreduce(int((network.read(unseen[mine]) == truth[mine]).sum()))
        curve.append((loss, right / len(truth)))
        if rank == 0 and (epoch + 1) % max(1, epochs // 6) == 0:
            print(f"epoch {epoch + 1:3d}: loss {loss:.4f}, {100 * curve[-1][1]:.2f} % of unseen digits read", flush=True)
    took = MPI.Wtime() - began
    most, least = np.empty_like(network.weights), np.empty_like(network.weights)
    RANKS.Allreduce(network.weights, most, op=MPI.MAX)
    RANKS.Allreduce(network.weights, least, op=MPI.MIN)
    shares = RANKS.gather(len(labels[mine]))
    if rank == 0:
        context.log_results({"accuracy": curve[-1][1], "loss": curve[-1][0], "ranks": size, "shares": shares})
        context.log_results({"apart": float((most - least).max()), "waited": round(waited / took, 3)})
        guesses = network.read(unseen)
        context.log_artifact("training", body=draw(curve, unseen, truth, guesses), format="png")


class Network:
    """Two layers, their weights in one array, so that they are added up at once."""

    def __init__(self, hidden, seed):
        random = np.random.default_rng(seed)
        self.shapes = [(65, hidden), (hidden + 1, 10)]
        layers = [random.normal(0, shape[0] ** -0.5, shape) for shape in self.shapes]
        self.weights = np.concatenate([layer.ravel() for layer in layers])

    def layers(self, weights):
        first = self.shapes[0][0] * self.shapes[0][1]
        return weights[:first].reshape(self.shapes[0]), weights[first:].reshape(self.shapes[1])

    def forward(self, images):
        first, second = self.layers(self.weights)
        inner = np.maximum(ones(images) @ first, 0)
        scores = ones(inner) @ second
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return inner, shares / shares.sum(axis=1, keepdims=True)

    def read(self, images):
        """The digit that each image most likely is."""
        return self.forward(images)[1].argmax(axis=1)

    def gradient(self, images, labels, count):
        """Loss and gradient of these images, as their part of `count`."""
        inner, shares = self.forward(images)
        rows = np.arange(len(labels))
        loss = -np.log(shares[rows, labels] + 1e-12).sum() / count
        shares[rows, labels] -= 1
        shares /= count
        gradient = np.empty_like(self.weights)
        first, second = self.layers(gradient)
        second[:] = ones(inner).T @ shares
        back = shares @ self.layers(self.weights)[1][:-1].T
        first[:] = ones(images).T @ (back * (inner > 0))
        return loss, gradient


def ones(rows):
    """Rows with a 1 at their ends, for the constant."""
    return np.hstack([rows, np.ones((len(rows), 1))])


def digits():
    """1797 pictures of 8 x 8 pixels, each as 64 numbers from 0 to 1, and what each shows; every fourth is kept unseen."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images, labels = found.data / 16, found.target
    unseen = np.arange(len(labels)) % 4 == 3
    return images[~unseen], labels[~unseen], images[unseen], labels[unseen]


def draw(curve, images, labels, guesses):
    """How it learned, and what it reads wrong at the end, as a PNG picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(5, 4))
    axes, epochs = left.subplots(), range(1, len(curve) + 1)
    axes.plot(epochs, [loss for loss, _ in curve], color="tab:blue")
    axes.set(xlabel="epoch", yscale="log", title=f"Training with {RANKS.Get_size()} ranks")
    axes.set_ylabel("loss", color="tab:blue")
    other = axes.twinx()
    other.plot(epochs, [100 * (1 - share) for _, share in curve], color="tab:orange")
    other.set(yscale="log")
    other.set_yticks([1, 2, 5, 10, 20, 50], labels=["1", "2", "5", "10", "20", "50"])
    other.minorticks_off()
    other.set_ylabel("unseen digits misread, %", color="tab:orange")

    wrong = np.flatnonzero(guesses != labels)
    panels = list(right.subplots(4, 5).flat)
    right.suptitle(f"{len(wrong)} of {len(labels)} misread" + "; some of them" * (len(wrong) > len(panels)))
    for panel in panels:
        panel.axis("off")
    for panel, row in zip(panels, wrong):
        panel.imshow(images[row].reshape(8, 8), cmap="gray_r")
        panel.set_title(f"{labels[row]}, not {guesses[row]}", fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
