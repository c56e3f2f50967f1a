"""The values that a run handles, as JSON."""

_encoder = None

# What is a result as it is.
SIMPLE = (int, float, str, bool)


def to_json(value):
    """Writes JSON; `value` has been through `plain`."""
    global _encoder
    try:
        if _encoder is None:
            from _json import encode_basestring, make_encoder

            _encoder = make_encoder(None, str, encode_basestring, None, ": ", ", ", False, False, False)
        return "".join(_encoder(value, 0))
    except Exception:
        import json

        return json.dumps(value, ensure_ascii=False, default=str)


def plain(value, depth=0):
    """The value as JSON can hold it: numbers that it lacks become text, arrays become lists, the rest `str`."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        return value if -(1 << 63) <= value < (1 << 64) else str(value)
    if kind is float:
        if value - value == 0:
            return value
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if depth > 50:
        return clip(str(value), 1000)
    if kind is dict or isinstance(value, dict):
        return {k if type(k) is str else _plain_key(k): plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v, depth + 1) for v in value]
    return _plain_object(value, depth + 1)


def _plain_key(key):
    key = plain(key)
    return key if type(key) is str else to_json(key)


def _plain_object(value, depth):
    for base in (bool, int, float, str):
        if isinstance(value, base):
            # An enumeration's member counts as its value, any other subclass as its base.
            inner = getattr(value, "value", None) if hasattr(type(value), "__members__") else base(value)
            return plain(inner, depth)
    if isinstance(value, (set, frozenset)):
        try:
            return [plain(v, depth) for v in sorted(value)]
        except TypeError:
            return [plain(v, depth) for v in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        try:
            return data.decode()
        except UnicodeDecodeError:
            import binascii

            return binascii.b2a_base64(data, newline=False).decode()
    name = type(value).__name__
    if hasattr(type(value), "__members__"):
        return plain(value.value, depth)
    if name == "Decimal":
        number = float(value)
        return plain(number) if type(value)(repr(number)) == value or number != number else str(value)
    for method in ("isoformat", "tolist", "to_dict"):  # times; numpy, torch, arrays; pandas and many more
        if callable(getattr(type(value), method, None)):
            try:
                return plain(getattr(value, method)(), depth)
            except Exception:  # it was worth a try
                continue
    fields = getattr(value, "__dataclass_fields__", None)
    if fields and not isinstance(value, type):
        return {field: plain(getattr(value, field, None), depth) for field in fields}
    return str(value)


def clip(text, limit):
    """The text, or its two ends where it is too long to be kept."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}\n... ({len(text) - limit} characters left out) ...\n{text[-limit // 2 :]}"
