"""Makes of a value what a type hint asks for."""

import sys

from . import from_json, state
from .data import DataItem, input_of
from .report import RunError
from .values import to_json


class Union:
    def __init__(self, args):
        self.__args__ = tuple(type(None) if arg is None else arg for arg in args)


def type_name(hint):
    if isinstance(hint, str):
        return hint
    if isinstance(hint, Union):
        return " | ".join("None" if arg is type(None) else type_name(arg) for arg in hint.__args__)
    if isinstance(hint, type) and not getattr(hint, "__args__", None):
        return hint.__name__
    return repr(hint).replace("typing.", "").replace("NoneType", "None")


def _form(hint):
    """What a hint is and is made of: ("union" | "literal" | "any" | class | its text, arguments)."""
    args = getattr(hint, "__args__", ()) or ()
    if isinstance(hint, Union) or type(hint).__name__ == "UnionType":
        return "union", args
    typing = sys.modules.get("typing")
    if hint is None:
        return type(None), ()
    if typing is None or isinstance(hint, str):
        return getattr(hint, "__origin__", hint), args
    if hint is typing.Any or isinstance(hint, typing.TypeVar) or hint is object:
        return "any", ()
    origin = getattr(hint, "__origin__", hint)
    if origin is typing.Union:
        return "union", args
    if origin is typing.Literal:
        return "literal", args
    if hasattr(hint, "__metadata__"):
        return _form(origin)
    if hasattr(hint, "__supertype__"):
        return _form(hint.__supertype__)
    return origin, args


def convert(value, hint):
    """The value as the hint wants it; ValueError or TypeError where it cannot be."""
    form, args = _form(hint)
    if form == "any":
        return value
    if form == "union":
        return _convert_union(value, args)
    if form == "literal":
        for arg in args:
            if type(arg) is type(value) and arg == value:
                return arg
        for arg in args:
            if str(getattr(arg, "name", arg)) == str(value) and type(value) is not bool:
                return arg
        raise ValueError("one of " + ", ".join(map(repr, args)))
    if not isinstance(form, type):
        return _convert_named(value, str(form))
    if hasattr(form, "__members__"):
        return _convert_enum(value, form)
    if form in _SIMPLE:
        return _SIMPLE[form](value)
    if (
        form in (list, tuple, set, frozenset)
        or form.__name__ in ("Sequence", "Iterable", "Collection", "MutableSequence")
        and form.__module__ == "collections.abc"
    ):
        return _convert_many(value, form, args)
    if form is dict or form.__name__ in ("Mapping", "MutableMapping"):
        value = _parsed(value, dict)
        return {convert(k, args[0]): convert(v, args[1]) for k, v in value.items()} if len(args) == 2 else value
    if isinstance(value, form):
        return value
    if isinstance(value, str) and (
        hasattr(form, "fromisoformat") or form.__module__ in ("decimal", "uuid", "fractions")
    ):
        text = value[:-1] + "+00:00" if value.endswith("Z") and form.__name__ == "datetime" else value
        return form.fromisoformat(text) if hasattr(form, "fromisoformat") else form(value)
    if form.__module__ in ("decimal", "fractions") and type(value) in (int, float):
        return form(str(value))
    if hasattr(form, "__fspath__"):
        if not isinstance(value, str):
            raise TypeError
        return __import__("pathlib").Path(value) if form.__module__ == "os" else form(value)
    return _convert_named(value, f"{form.__module__}.{form.__qualname__}")


def _convert_named(value, name):
    """Tables and data items may be asked for by a parameter too, which then says where they are."""
    if isinstance(value, str) and name.split(".")[-1] in ("DataFrame", "DataItem"):
        item = input_of(state.job, "", value)
        item.check()
        return item if name.endswith("DataItem") else item.as_df()
    return value


def _convert_union(value, args):
    for arg in args:  # as it is, before anything is made of it
        form = _form(arg)[0]
        if form == "any" or (isinstance(form, type) and type(value) is form):
            return convert(value, arg)
    why = None
    # Text last: everything can be text.
    for arg in sorted(args, key=lambda arg: arg is str):
        try:
            return convert(value, arg)
        except (TypeError, ValueError, ArithmeticError) as exc:
            why = exc
    raise why or ValueError("no type fits")


def _convert_enum(value, form):
    try:
        return form(value)
    except (ValueError, KeyError):
        pass
    for name, member in form.__members__.items():
        if value == name or str(member.value) == str(value):
            return member
    raise ValueError("one of " + ", ".join(form.__members__))


def _convert_many(value, form, args):
    value = _parsed(value, list)
    if args and form is tuple and args[-1] is not Ellipsis:
        if len(args) != len(value):
            raise ValueError(f"{len(args)} values are needed, {len(value)} were given")
        return tuple(convert(each, arg) for each, arg in zip(value, args))
    value = [convert(each, args[0]) for each in value] if args else value
    return form(value) if form in (tuple, set, frozenset) else value


def _parsed(value, kind):
    if isinstance(value, str):
        value = from_json(value.strip())
    if kind is list and isinstance(value, (tuple, set, frozenset)):
        return list(value)
    if not isinstance(value, kind):
        raise TypeError
    return value


def _convert_bool(value):
    if type(value) is bool:
        return value
    word = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise ValueError("true or false")


def _convert_int(value):
    if type(value) is int:
        return value
    if type(value) is float and value == value // 1:
        return int(value)
    if isinstance(value, str):
        return int(value)
    raise TypeError


def _convert_float(value):
    if type(value) in (int, float) or isinstance(value, str):
        return float(value)
    raise TypeError


def _convert_str(value):
    if isinstance(value, str):
        return value
    if type(value) in (int, float, bool):
        return to_json(value)
    raise TypeError


def _convert_bytes(value):
    if isinstance(value, str):
        return value.encode()
    raise TypeError


def _convert_none(value):
    if value is None:
        return None
    raise TypeError


_SIMPLE = {
    bool: _convert_bool,
    int: _convert_int,
    float: _convert_float,
    str: _convert_str,
    bytes: _convert_bytes,
    type(None): _convert_none,
}


def convert_input(item, hint):
    """The input as the hint wants it: itself, its path, or its content."""
    form, args = _form(hint)
    if form == "union":
        why = None
        for arg in args:
            if arg is not type(None):
                try:
                    return convert_input(item, arg)
                except (RunError, TypeError, ValueError) as exc:
                    why = why or exc
        raise why or ValueError("no type fits")
    name = form.split(".")[-1] if isinstance(form, str) else getattr(form, "__name__", "")
    if form == "any" or form is DataItem or name == "DataItem":
        return item
    if form is str:
        return str(item.local())
    if hasattr(form, "__fspath__"):
        import pathlib

        return pathlib.Path(item.local())
    if name == "DataFrame":
        return item.as_df(
            df_module=sys.modules.get("polars")
            if getattr(form, "__module__", "").startswith("polars") or str(form).startswith("pl.")
            else None
        )
    if form is bytes:
        return item.get()
    if name == "ndarray" and item.suffix == ".npy":
        return __import__("numpy").load(item.local())
    if form in _SIMPLE or form in (list, dict, tuple, set, frozenset):
        return convert(item.get(encoding="utf-8").strip(), hint)
    return item
