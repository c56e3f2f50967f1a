"""Logs what a handler returns."""

import os

from . import get_or_create_ctx
from .artifacts import is_a, is_figure, is_frame
from .report import ReturnError, did_you_mean


def log_returns(value, returns):
    """Logs what came back, as `returns` says."""
    ctx = get_or_create_ctx()
    values = [value]
    if len(returns) > 1:
        if not isinstance(value, (tuple, list)) or len(value) < len(returns):
            count = len(value) if isinstance(value, (tuple, list)) else 1
            raise ReturnError(
                f"the handler returned {count} value{'s' * (count != 1)}, but `returns` names {len(returns)}: {', '.join(map(_hint_key, returns))}"
            )
        values = list(value)
        if len(values) > len(returns):
            ctx._report.note(
                f"the handler returned {len(values)} values; `returns` names {len(returns)}, so the rest was not logged"
            )
    for each, hint in zip(values, returns):
        if hint is not None:
            _log_return(ctx, each, hint)
    return None


def _hint_key(hint):
    return str(hint.get("key") if isinstance(hint, dict) else hint).split(":")[0].strip()


def _log_return(ctx, value, hint):
    if isinstance(hint, dict):
        more = dict(hint)
        key, kind = str(more.pop("key", "")), str(more.pop("artifact_type", "") or "")
        form = str(more.pop("file_format", None) or more.pop("format", None) or "")
    else:
        key, _, kind = str(hint).partition(":")
        more, form = {}, ""
    key, kind = key.strip(), kind.strip() or _kind_of(value)
    if not key:
        raise ReturnError(f'`returns` holds {hint!r}, which names no key; write "accuracy" or "data:dataset"')
    is_path = (isinstance(value, str) and "\n" not in value or hasattr(value, "__fspath__")) and os.path.exists(value)
    if kind == "result":
        ctx.log_result(key, value)
    elif kind == "dataset":
        ctx.log_dataset(key, local_path=str(value), format=form) if is_path else ctx.log_dataset(
            key, value, format=form, **more
        )
    elif kind == "model":
        if is_path:
            ctx.log_model(key, **{"model_dir" if os.path.isdir(value) else "model_file": str(value)}, **more)
        else:
            ctx.log_model(key, value, **more)
    elif kind in ("file", "path", "directory", "artifact", "plot"):
        if not is_path and kind in ("file", "path", "directory") and isinstance(value, (str, os.PathLike)):
            raise ReturnError(
                f"return value {key!r} is to be kept as a {kind}, but there is no file {os.path.abspath(value)}"
            )
        value = next(
            (
                getattr(value, name)
                for name in ("figure", "fig")
                if kind == "plot" and not is_figure(value) and hasattr(value, name)
            ),
            value,
        )
        more.update({"kind": "plot"} if kind == "plot" else {})
        ctx.log_artifact(key, **({"local_path": str(value)} if is_path else {"body": value}), format=form, **more)
    elif kind == "object":
        ctx.log_artifact(key, body=value, format=form or "pkl", **more) if not isinstance(
            value, (str, bytes)
        ) else ctx.log_artifact(key, body=_pickled(value), format="pkl", **more)
    else:
        raise ReturnError(
            f"`returns` asks for {key!r} as {kind!r}{did_you_mean(kind, _KINDS)}; known: {', '.join(_KINDS)}"
        )


_KINDS = ("result", "dataset", "model", "plot", "file", "path", "directory", "object", "artifact")


def _pickled(value):
    import pickle

    return pickle.dumps(value, protocol=4)


def _kind_of(value):
    if is_frame(value) or is_a(value, "numpy", "ndarray") or is_a(value, "pandas", "Series"):
        return "dataset"
    if is_figure(value):
        return "plot"
    if hasattr(value, "__fspath__"):
        return "artifact" if os.path.exists(value) else "result"
    simple = (str, bytes, int, float, bool, type(None), dict, list, tuple, set, frozenset)
    if (
        isinstance(value, simple)
        or is_a(value, "numpy", "generic")
        or hasattr(value, "isoformat")
        or is_a(value, "decimal", "Decimal")
    ):
        return "result"
    return "artifact"
