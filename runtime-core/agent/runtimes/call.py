"""Calls a handler with what it asks for."""

import sys

from . import get_or_create_ctx
from .params import ARGS, EITHER, EMPTY, KEYWORD, KWARGS, POSITIONAL, parameters
from .report import HandlerError, InputError, ParameterError, RunError, did_you_mean, text_of
from .values import SIMPLE, clip, plain, to_json


class Call:
    """A handler: how it is found, what it takes, and what it is given."""

    def __init__(self, module, handler):
        owner, _, method = str(handler).rpartition("::")
        self.owner, self.method, self.init = None, method.strip(), []
        self.target = _find(module, (owner or method).strip(), handler)
        if owner:
            self.owner = self.target
            raw = _find_method(self.owner, self.method)
            self.target = getattr(self.owner, self.method)
            if self.owner.__init__ is not object.__init__:
                self.init = parameters(self.owner)
            self.params = parameters(self.target, 0 if isinstance(raw, (staticmethod, classmethod)) else 1)
        else:
            self.params = parameters(self.target)
        every = self.init + self.params
        self.takes_context = any(p.wants_context() for p in every)
        self.takes_all = any(p.kind == KWARGS for p in every)
        self.known = [p.name for p in every if p.kind in (EITHER, KEYWORD, POSITIONAL) and not p.wants_context()]

    def prepare(self):
        """Imports what its calls need, so that forked runs do not, each for itself."""
        if self.takes_context:
            __import__(f"{__package__}.context")
        hints = [p.hint for p in self.init + self.params if p.hint is not EMPTY and not p.wants_context()]
        if not all(any(hint is kind for kind in SIMPLE) for hint in hints):
            __import__(f"{__package__}.convert")

    def signature(self):
        shown = f"{self.method}({', '.join(map(str, self.params))})"
        return f"{self.owner.__name__}({', '.join(map(str, self.init))}).{shown}" if self.init else shown

    def wrong(self, text):
        return ParameterError(f"{text}; it is {self.signature()}", *_where(self.target))

    def __call__(self, job):
        """Calls it for this run, and returns what it returns."""
        bridge = None
        if "mlrun" in sys.modules:
            from .with_mlrun import mlrun_context

            bridge = mlrun_context(job)
        if not (self.params or self.owner or getattr(job, "given", True)):
            return _finished(self.target())
        spec = job["run"].get("spec") or {}
        given, inputs = spec.get("parameters") or {}, spec.get("inputs") or {}
        if self.owner and isinstance(given.get("_init_args"), dict):  # how MLRun's users pass them
            given = {**given, **given["_init_args"]}
            del given["_init_args"]
        self._check(given, inputs)
        items = get_or_create_ctx().inputs if inputs else {}
        for item in items.values():
            item.check()
        args, kwargs = self._bind(self.params, given, items, bridge)
        target = self.target
        if self.owner:
            first, more = self._bind(self.init, given, items, bridge)
            target = getattr(self.owner(*first, **more), self.method)
        return _finished(target(*args, **kwargs))

    def _check(self, given, inputs):
        """Missing and unknown names, all of them at once."""
        needed = [p.name for p in self.init + self.params if p.name in self.known and p.is_needed()]
        missing = [name for name in dict.fromkeys(needed) if name not in given and name not in inputs]
        unknown = [key for key in (*given, *inputs) if key not in self.known]
        if self.takes_all or self.takes_context:  # through these the handler gets at all of them
            unknown = []
        if not (missing or unknown):
            return
        said = [
            f"unknown {'parameter' if key in given else 'input'} {key!r}{did_you_mean(key, self.known)}"
            for key in unknown
        ]
        if missing:
            said.insert(0, f"missing parameter{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}")
        raise self.wrong(f"{self.method}: " + ", ".join(said))

    def _bind(self, params, given, items, bridge):
        args, kwargs, taken = [], {}, set()
        for p in params:
            if p.kind == KWARGS:
                rest = {**given, **items}
                kwargs.update((key, rest[key]) for key in rest if key not in taken and key not in self.known)
                continue
            if p.kind == ARGS:
                continue
            if p.wants_context():
                value = bridge if bridge is not None and not p.wants_ours() else get_or_create_ctx()
            elif p.name in given:
                value = self._convert(p, given[p.name])
            elif p.name in items:
                value = self._input(p, items[p.name], bridge)
            elif p.wants_session():
                value = get_or_create_ctx().spark
            elif p.kind == POSITIONAL and p.default is not EMPTY:
                value = p.default
            else:
                continue
            taken.add(p.name)
            if p.kind == POSITIONAL:
                args.append(value)
            else:
                kwargs[p.name] = value
        return args, kwargs

    def _convert(self, p, value):
        if p.hint is EMPTY or type(value) is p.hint or (value is None and p.default is None):
            return value
        if p.hint is float and type(value) is int:
            return float(value)
        from .convert import convert, type_name

        try:
            return convert(value, p.hint)
        except (TypeError, ValueError, ArithmeticError) as exc:
            why = f" ({exc})" if text_of(exc) and type(exc) is not TypeError else ""
            text = f"{self.method}: parameter {p.name!r} must be {type_name(p.hint)}, not {_shown(value)}{why}"
            raise ParameterError(text, *_where(self.target)) from exc

    def _input(self, p, item, bridge):
        from .convert import convert_input, type_name

        if bridge is not None and (p.hint is EMPTY or type_name(p.hint).split(".")[-1] == "DataItem"):
            theirs = bridge.get_input(item.key, str(item))
            return theirs.local() if p.hint is EMPTY and isinstance(p.default, str) else theirs
        if p.hint is EMPTY:
            return item
        try:
            return convert_input(item, p.hint)
        except RunError:
            raise
        except (ImportError, TypeError, ValueError, ArithmeticError) as exc:
            raise InputError(
                f"input {p.name!r}: {item.local()} could not be read as {type_name(p.hint)}: {exc}"
            ) from exc


def _find(module, path, handler):
    """The function or class of this name in the module."""
    value = module
    for part in path.split("."):
        value = getattr(value, part, EMPTY)
    file = getattr(module, "__file__", None)
    if value is EMPTY:
        known = _handlers(module, "::" in handler)
        said = f"the code defines: {', '.join(known)}" if known else "the code defines no function"
        raise HandlerError(f"there is no handler {handler!r}{did_you_mean(handler, known)}; {said}", file)
    if not callable(value):
        raise HandlerError(f"the handler {handler!r} is a {type(value).__name__}, not a function", file)
    return value


def _handlers(module, methods):
    """The names of the functions that the module itself defines; also of its classes' methods where they are wanted."""
    own = {n: v for n, v in _public(module) if getattr(v, "__module__", None) == module.__name__}
    known = [n for n, v in own.items() if not isinstance(v, type)]
    if methods:
        known += [f"{n}::{m}" for n, v in own.items() if isinstance(v, type) for m, _ in _public(v)]
    return known


def _public(owner):
    return [(n, v) for n, v in vars(owner).items() if callable(v) and not n.startswith("_")]


def _find_method(owner, name):
    """The method as the class holds it, so that it can be told whether it takes `self`."""
    for base in getattr(owner, "__mro__", ()):
        if name in base.__dict__:
            return base.__dict__[name]
    known = [n for n, _ in _public(owner)]
    text = f"{owner.__name__} has no method {name!r}{did_you_mean(name, known)}"
    raise HandlerError(f"{text}; it has: {', '.join(known) or 'none'}", *_where(getattr(owner, "__init__", owner)))


def _where(fn):
    code = getattr(getattr(fn, "__wrapped__", fn), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else ()


def _shown(value):
    return f"{clip(to_json(plain(value)), 200)}"


def _finished(value):
    """Awaits what is to be awaited; the values of a generator become a list."""
    kind = type(value).__name__
    if kind == "generator":
        return list(value)
    if kind != "async_generator" and not hasattr(type(value), "__await__"):
        return value
    import asyncio

    async def wait():
        return [each async for each in value] if kind == "async_generator" else await value

    return asyncio.run(wait())
