"""The parameters of a handler, read from its definition."""

import sys

from . import _has_env
from .values import clip

SPARK = "RUNTIMES_SPARK"  # set where the run has a session of Spark
EMPTY = object()
POSITIONAL, EITHER, ARGS, KEYWORD, KWARGS = range(5)


class Param:
    """One parameter of a handler."""

    __slots__ = ("name", "kind", "default", "hint")

    def __init__(self, name, kind, default, hint, names):
        self.name, self.kind, self.default = name, kind, default
        self.hint = _resolve(hint, names) if isinstance(hint, str) else hint

    def __str__(self):
        text = ("", "", "*", "", "**")[self.kind] + self.name
        equals = "="
        if self.hint is not EMPTY:
            from .convert import type_name

            text, equals = f"{text}: {type_name(self.hint)}", " = "
        if self.default is not EMPTY:
            text += equals + clip(repr(self.default), 40)
        return text

    def wants_context(self):
        """Whether the run's context goes here: by the name `context`, or by the hint."""
        hint = self.hint if isinstance(self.hint, str) else getattr(self.hint, "__name__", "")
        return self.name == "context" or hint.split(".")[-1] == "MLClientCtx" or self.wants_ours()

    def wants_ours(self):
        """Whether it must be the agent's own context."""
        if isinstance(self.hint, str):
            return self.hint in ("Context", "runtimes.Context")
        return getattr(self.hint, "__module__", "") == f"{__package__}.context"

    def is_needed(self):
        """Whether a run must give it."""
        return self.default is EMPTY and not self.wants_session()

    def wants_session(self):
        """Whether the run's session of Spark goes here, where nothing else is given: by the name `spark`, or by the hint."""
        if not _has_env(SPARK):
            return False
        if self.hint is EMPTY:
            return self.name == "spark"
        hint = self.hint if isinstance(self.hint, str) else getattr(self.hint, "__name__", "")
        return hint.split(".")[-1] == "SparkSession"


def parameters(fn, skip=0):
    """The parameters of a callable; plain functions are read without `inspect`, which takes long to import."""
    if hasattr(fn, "__func__"):
        fn, skip = fn.__func__, 1
    if type(fn) is type(parameters) and not hasattr(fn, "__wrapped__") and not hasattr(fn, "__signature__"):
        code, defaults, more = fn.__code__, fn.__defaults__ or (), fn.__kwdefaults__ or {}
        names, hints, count = code.co_varnames, fn.__annotations__, code.co_argcount
        kinds = [POSITIONAL if i < code.co_posonlyargcount else EITHER for i in range(count)]
        values = [EMPTY] * (count - len(defaults)) + list(defaults)
        kinds += [KEYWORD] * code.co_kwonlyargcount
        values += [more.get(name, EMPTY) for name in names[count : len(kinds)]]
        for flag, kind in ((4, ARGS), (8, KWARGS)):
            if code.co_flags & flag:
                kinds.append(kind)
                values.append(EMPTY)
        return [Param(n, k, v, hints.get(n, EMPTY), fn.__globals__) for n, k, v in zip(names, kinds, values)][skip:]
    import inspect

    inner = inspect.unwrap(fn)
    names = getattr(inner, "__globals__", None) or vars(sys.modules.get(getattr(inner, "__module__", ""), sys))
    missing = inspect.Parameter.empty
    return [
        Param(p.name, int(p.kind), *(EMPTY if x is missing else x for x in (p.default, p.annotation)), names)
        for p in inspect.signature(fn).parameters.values()
    ][skip:]


def _resolve(hint, names):
    """A hint that is written as text; where it cannot be evaluated here, it stays text."""
    try:
        return eval(hint, dict(names))  # the user's own code
    except TypeError:  # `int | None` before Python 3.10
        parts, depth = [""], 0
        for char in hint:
            depth += (char in "[(") - (char in "])")
            if char == "|" and not depth:
                parts.append("")
            else:
                parts[-1] += char
        from .convert import Union

        return Union([_resolve(part.strip(), names) for part in parts]) if len(parts) > 1 else hint
    except Exception:  # most often a name that only type checkers import
        return hint
