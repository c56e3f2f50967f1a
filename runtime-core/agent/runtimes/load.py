"""Finds and loads the user's code."""

import os
import sys

from .report import HandlerError


class _Text:
    """Shows tracebacks and `inspect` the lines of code that lies under another name than its own."""

    def __init__(self, data):
        self.data = data

    def get_source(self, name):
        from importlib.util import decode_source

        return decode_source(self.data)


def _compile(code, module):
    """The code of a file, under the name that the user knows it by."""
    path, name = code["path"], code.get("name") or code["path"]
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as exc:
        raise HandlerError(f"the code {path} cannot be read: {exc.strerror}") from exc
    if name != path:
        module.__loader__ = _Text(data)
        import linecache

        text = module.__loader__.get_source(name) if b"\0" not in data else ""
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    return compile(data, name, "exec", dont_inherit=True)


def load_main(code):
    """The main module and its code, ready to be executed as `python3 FILE` or `python3 -m MODULE` would."""
    module = type(sys)("__main__")
    if "path" in code:
        # The real path, although tracebacks show another name: `multiprocessing` starts its workers from it.
        module.__file__, module.__cached__, module.__spec__ = code["path"], None, None
        compiled = _compile(code, module)
    else:
        from importlib.util import find_spec

        spec = find_spec(code["module"])
        if spec is not None and spec.submodule_search_locations is not None:
            spec = find_spec(code["module"] + ".__main__")
        compiled = spec and spec.loader and spec.loader.get_code(spec.name)
        if not compiled:
            raise HandlerError(f"there is no module {code['module']} that can be run; looked in {', '.join(sys.path)}")
        module.__file__, module.__cached__, module.__spec__ = spec.origin, spec.cached, spec
        module.__package__, module.__loader__ = spec.parent, spec.loader
        sys.argv[0] = spec.origin
    sys.modules["__main__"] = module
    return module, compiled


def load_module(code):
    """The code as a module that can be found in sys.modules, where pickle and dataclasses look for it."""
    if "module" in code:
        __import__(code["module"])
        return sys.modules[code["module"]]
    path = code["path"]
    name = os.path.splitext(os.path.basename(path))[0].replace(".", "_")
    if name in sys.modules or name in getattr(sys, "stdlib_module_names", ()):
        name = f"code_{name}"
    if code.get("name", path) != path or not os.path.isfile(path):
        module = type(sys)(name)
        module.__file__ = path
        compiled = _compile(code, module)
        sys.modules[name] = module
    else:
        # What importlib.util would do, without importing it; the code is compiled once and cached beside the file.
        import _frozen_importlib
        import _frozen_importlib_external as external

        spec = external.spec_from_file_location(name, path, loader=external.SourceFileLoader(name, path))
        module = _frozen_importlib.module_from_spec(spec)
        sys.modules[name] = module
        compiled = spec.loader.get_code(name)
    try:
        exec(compiled, module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
