import sys

if sys.version_info > (3, 11):
    import tomllib as toml
    def load(path): ...
elif False:
    early = 1
else:
    toml = None
    class Loader: ...
try:
    import numpy.linalg
except ImportError as error:
    numpy = None
finally:
    cleaned = True
with open("f") as handle, lock:
    inside = 1
for i, (j, k) in []:
    loop = 1
while (n := 1):
    spin = 1
match x:
    case {"a": a, **others}: matched = 1
    case [b, *tail] | Point(c, at=d) as whole: pass
type Alias = int


def init():
    global session
    session = 1
