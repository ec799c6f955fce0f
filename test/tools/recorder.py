"""Keeps the exchanges of tests with msaas, for test/lint/check_exchanges.py: one of each kind. The
folder is $E2E_EXCHANGES; without it nothing is kept."""

import json
import os
import pathlib
import re
import sys
import urllib.parse

from contract import is_meaningful

MAX_BODY = 1 << 20
WORD = re.compile(r"[a-z_.]{1,40}")


def shape(value):
    """What a JSON value looks like: names and types, and the words that programs look at."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape(member), sort_keys=True) for member in value})
    if isinstance(value, str) and WORD.fullmatch(value):
        return value
    return type(value).__name__


class Recorder:
    def __init__(self, folder):
        self.seen = set()
        name = f"{pathlib.Path(sys.argv[-1]).stem}-{os.getpid()}.jsonl"
        self.file = (pathlib.Path(folder) / name).open("a", encoding="utf-8")

    def hook(self, answer, **options):
        """For requests.Session.hooks["response"]."""
        if "X-Request-Id" not in answer.headers:  # another server: S3, where it was redirected
            return
        url = urllib.parse.urlsplit(answer.request.url)
        kind = answer.headers.get("Content-Type", "")
        is_text = kind.startswith("text/") or "json" in kind or not kind
        body = None
        if is_text and not options.get("stream") and len(answer.content) <= MAX_BODY:
            body = answer.content.decode("utf-8")
        self.keep({
            "method": answer.request.method,
            "path": urllib.parse.unquote(url.path),
            "query": sorted({name.lower() for name, _ in urllib.parse.parse_qsl(
                url.query, keep_blank_values=True)}),
            "headers": sorted(name.lower() for name in answer.request.headers
                              if is_meaningful(name)
                              or name.lower() == "access-control-request-method"),
            "status": answer.status_code,
            "type": kind,
            "answer": dict(answer.headers),
            "body": body,
        })

    def keep(self, exchange):
        kind = {name: exchange[name] for name in ("method", "query", "headers", "status", "type")}
        kind["path"] = re.sub(r"[0-9a-f]{32,}", "ID", exchange["path"])
        kind["answer"] = sorted(exchange["answer"])
        if exchange["body"] and "json" in exchange["type"]:
            kind["body"] = shape(json.loads(exchange["body"]))
        kind = json.dumps(kind, sort_keys=True)
        if kind in self.seen:
            return
        self.seen.add(kind)
        test = os.environ.get("PYTEST_CURRENT_TEST", "")
        self.file.write(json.dumps({"test": test} | exchange) + "\n")
        self.file.flush()


def record(session):
    if folder := os.environ.get("E2E_EXCHANGES"):
        session.hooks["response"].append(Recorder(folder).hook)
