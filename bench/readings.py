"""Whether two versions read the same: `python -m bench.readings BEFORE AFTER`.

Both are files that `bench.turn --readings` wrote. For changes that should only cost less. Ends with 1 if
an intent or an entity differs, or a confidence by more than a thousandth.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TOLERANCE = 1e-3


def differs(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether one message is read otherwise."""
    values = [[(e["entity"], e["value"]) for e in read["entities"]] for read in (before, after)]
    best = [[entry["name"] for entry in read["ranking"][:1]] for read in (before, after)]
    ranks = ({e["name"]: e["confidence"] for e in read["ranking"]} for read in (before, after))
    old, new = ranks
    gap = max((abs(old[name] - new[name]) for name in old.keys() & new.keys()), default=0.0)
    return values[0] != values[1] or best[0] != best[1] or gap > TOLERANCE


def main() -> int:
    """Prints each message that differs."""
    before, after = (
        [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]
        for name in sys.argv[1:3]
    )
    found = [old["text"] for old, new in zip(before, after, strict=True) if differs(old, new)]
    print("\n".join([*found, f"{len(found)} of {len(before)} messages are read otherwise."]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
