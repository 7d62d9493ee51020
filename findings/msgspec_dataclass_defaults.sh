#!/usr/bin/env bash
# Two equal dataclass instances are encoded differently by msgspec: one that it decoded itself leaves out every field
# that the input did not name and whose default is a plain value; one that was constructed writes them all.
#
# Versions: msgspec 0.22.0, Python 3.11. Seen on 2026-11-30:
#   decoded == constructed: True
#   decoded      {"a":1,"c":{}}
#   constructed  {"a":1,"b":null,"c":{}}
# dataclasses.asdict of the decoded one has all three. A plain default stays an attribute of the class, and the encoder
# reads the instance's __dict__; a default_factory is called while decoding, so `c` is there. Structs are not concerned.
# What follows: read with msgspec, write from dataclasses.asdict.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check msgspec==0.22.0
"$folder/venv/bin/python" - <<'PYTHON'
from dataclasses import asdict, dataclass, field

import msgspec


@dataclass(frozen=True)
class Row:
    a: int
    b: int | None = None
    c: dict[str, int] = field(default_factory=dict)


decoded, constructed = msgspec.json.decode(b'{"a": 1}', type=Row), Row(1)
print("decoded == constructed:", decoded == constructed)
print("decoded     ", msgspec.json.encode(decoded).decode())
print("constructed ", msgspec.json.encode(constructed).decode())
assert decoded == constructed
assert msgspec.json.encode(decoded) == b'{"a":1,"c":{}}'
assert msgspec.to_builtins(msgspec.convert({"a": 1}, Row)) == {"a": 1, "c": {}}
assert msgspec.json.encode(constructed) == b'{"a":1,"b":null,"c":{}}'
assert asdict(decoded) == {"a": 1, "b": None, "c": {}}
PYTHON
