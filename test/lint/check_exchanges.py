#!/usr/bin/python3
"""check_exchanges.py FOLDER: every exchange that the tests had with msaas is in
src/api/openapi.json as it was: route, parameters, status, headers, body. test/tools/recorder.py
has kept them."""

import collections
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
from contract import Contract  # noqa: E402  (its folder was just added)


def main(folder):
    contract = Contract()
    files = sorted(pathlib.Path(folder).glob("*.jsonl"))
    exchanges = [json.loads(line) for file in files
                 for line in file.read_text(encoding="utf-8").splitlines()]
    if not exchanges:
        print(f"{folder}: no exchange was recorded, though tests have run that have some")
        return 1
    faults = collections.Counter()
    examples = {}
    for exchange in exchanges:
        for fault in contract.faults(exchange):
            what = f"{exchange['method']} {contract.template(exchange['path'])}: {fault}"
            faults[what] += 1
            examples.setdefault(what, exchange)
    for what in faults:
        example = examples[what]
        print(f"{what}\n    in {example['test']}: {example['method']} {example['path']} "
              f"{example['status']}\n    {(example['body'] or '')[:300]}")
    seen = {(exchange["method"], contract.template(exchange["path"])) for exchange in exchanges}
    unseen = [f"{method} {path}" for method, path in contract.operations()
              if (method, path) not in seen]
    print(f"{len(exchanges)} exchanges of {len(files)} tests; {len(faults)} faults; never asked "
          f"for: {', '.join(unseen) or 'nothing'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
