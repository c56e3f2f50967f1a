"""Trains a model."""
import os.path
from typing import Optional, Union
from mlrun import MLClientCtx as Ctx

RATE: float = 0.1
unset: int
(first, *rest), last = [1, 2], 3


def train(context, data, n: int = 3, *, rate: float = RATE) -> dict:
    """Train it.

    Twice,
        with care.
    """
    return {}


async def serve(ctx: "mlrun.MLClientCtx", path: Optional[str] = None, /, *args, **kwargs): ...


def _helper(x=(1 +
               2), y: Union[
        int, str] = "a"):
    pass


@decorate
def wrapped(a, b):
    pass


class Model:
    kind = "tree"

    def __init__(self, depth: int = 2):
        self.depth = depth

    def fit(self, data, epochs: int):
        "Fits."

    @staticmethod
    def load(path): ...

    @classmethod
    def make(cls, *, name): ...

    @property
    def size(self): ...


def train_again(a): ...


def train_again(b): ...
