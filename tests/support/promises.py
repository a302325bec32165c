"""What the test run tells of the rules of attention: which promise of the list each has kept."""

import re
from collections.abc import Iterable

LIST = "recurrent_core/ops/test_promises.py"
_CASE = re.compile(r"::test_(?P<promise>\w+)\[(?P<case>.+)\]$")


def told(kept: Iterable[str], broken: Iterable[str]) -> list[str]:
    """The list and a row for each rule; nothing where no promise was looked at.

    Args:
        kept, broken: names of tests that passed and failed, as pytest has them.
    """
    from recurrent_core.ops.registry import MECHANISMS  # brings torch, which takes seconds

    verdicts: dict[tuple[str, str], bool] = {}
    for names, is_kept in ((kept, True), (broken, False)):
        for name in names:
            case = _CASE.search(name) if LIST in name else None
            rule = next((part for part in case["case"].split("-") if part in MECHANISMS), None) if case else None
            if case and rule:
                at = (rule, case["promise"].replace("_", " "))
                verdicts[at] = verdicts.get(at, True) and is_kept
    promises = list(dict.fromkeys(sorted(promise for _, promise in verdicts)))
    if not promises:
        return []
    lines = [f"{number:3d}  {promise}" for number, promise in enumerate(promises, start=1)]
    width = max(map(len, MECHANISMS)) + 2
    lines.append(f"{'':{width}}" + "".join(f"{number:4d}" for number in range(1, len(promises) + 1)))
    signs = {True: "+", False: "BROKEN", None: "."}
    for rule in MECHANISMS:
        row = [signs[verdicts.get((rule, promise))] for promise in promises]
        lines.append(f"{rule:{width}}" + "".join(f"{sign:>4}" for sign in row))
    return [*lines, "+ kept, . not of this rule"]
