"""fuzz_contract.py URL REQUESTS SEED JOBS: asks the server at URL whatever its /openapi.json
allows, and what it forbids, and compares each answer with the contract. JOBS: a JSON file with the
ids of jobs that have ended ("finished") and that may be erased ("expendable"), and the address of a
server of the same jobs that wants tokens ("closed"), with an admin's ("token").

Schemathesis makes the requests. Prints what was answered, and each kind of fault once; exit code 1
if there is any. Runs in the environment that test_contract.py makes.
"""

import base64
import collections
import contextlib
import itertools
import json
import pathlib
import random
import sys

import hypothesis
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
from contract import Contract, is_meaningful  # noqa: E402  (its folder was just added)

WAV = b"RIFF\x24\x08\x00\x00WAVEfmt "
SONGS = st.one_of(st.binary(max_size=64), st.binary(max_size=16).map(WAV.__add__))
schemathesis.checks.load_all_checks()
CHECKS = schemathesis.checks.CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance",
     "response_schema_conformance", "response_headers_conformance"])
ERASING = ("eraseJob", "removeByGet", "remove")
ROUND = 100  # requests for an operation, before the others get theirs
SLOW = 0.005  # so many of the requests that could wait do

for kind in ("audio/*", "video/*", "application/ogg", "application/octet-stream",
             "application/offset+octet-stream", "application/x-www-form-urlencoded"):
    schemathesis.openapi.media_type(kind, SONGS)


class Fuzz:
    def __init__(self, url, seed, jobs):
        self.url = url
        self.jobs = jobs
        self.uploads = []
        self.dice = random.Random(seed)
        self.contract = Contract()
        self.session = requests.Session()
        self.session.trust_env = False
        self.answers = collections.defaultdict(collections.Counter)
        self.faults = {}

    def aim(self, case, name):
        """Most requests are for jobs and uploads that there are, and bring songs that are ones."""
        if "uploads" in case.operation.path:
            self.aim_at_upload(case)
        elif "id" in (case.path_parameters or {}) and self.dice.random() < 0.8:
            pool = self.jobs["expendable" if name in ERASING else "finished"]
            case.path_parameters["id"] = self.dice.choice(pool)
        if "file" in (case.path_parameters or {}) and self.dice.random() < 0.5:
            case.path_parameters["file"] = self.dice.choice(("bass.mp3", "bass.wav", "no.mp3"))
        if "track" in (case.path_parameters or {}) and self.dice.random() < 0.5:
            case.path_parameters["track"] = self.dice.choice(("bass.mp3", "base", "kazoo"))
        if name == "sendSong" and self.dice.random() < 0.5:
            case.query.clear()
        if isinstance(case.body, dict) and self.dice.random() < 0.7:
            song = WAV + self.dice.randbytes(4)
            if "mp3" in case.body:
                case.body["mp3"] = base64.b64encode(song).decode()
            elif "file" in case.body:
                case.body["file"] = song
        if "prefer" in {header.lower() for header in case.headers or {}}:
            waits = self.dice.random() < SLOW
            case.headers["Prefer"] = "wait=1" if waits else "wait=0, respond-async"

    def aim_at_upload(self, case):
        if "id" in (case.path_parameters or {}) and self.uploads and self.dice.random() < 0.8:
            case.path_parameters["id"] = self.dice.choice(self.uploads)
        for header, most in (("Upload-Length", 64), ("Upload-Offset", 8)):
            if header in (case.headers or {}) and self.dice.random() < 0.7:
                case.headers[header] = str(self.dice.randint(0, most))

    def place(self):
        """Where a request goes, and the header with which it does: half need a token."""
        if self.dice.random() < 0.5:
            return self.url, {}
        token = self.dice.choices((self.jobs["token"], "guess", None), (8, 1, 1))[0]
        return self.jobs["closed"], {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, case, name):
        self.aim(case, name)
        url, headers = self.place()
        answer = case.call(base_url=url, session=self.session, timeout=60, headers=headers,
                           allow_redirects=False)
        self.answers[name][answer.status_code] += 1
        if name == "sendSong" and answer.status_code == 202:
            self.jobs["expendable"].append(answer.json()["id"])
        if name == "createUpload" and answer.status_code == 201:
            self.uploads = self.uploads[-20:] + [answer.json()["id"]]
        for fault in self.judge(case, answer):
            self.faults.setdefault((name, fault), (case.as_curl_command()[:600], answer.text[:300]))

    def judge(self, case, answer):
        kind = answer.headers.get("content-type", [""])[0]
        is_text = kind.startswith("text/") or "json" in kind or not kind
        request = answer.request
        yield from self.contract.faults({
            "method": request.method, "path": case.operation.path.replace("{id}", "0" * 56)
            .replace("{file}", "x").replace("{track}", "x"),
            "query": [], "headers": [name for name in request.headers if is_meaningful(name)],
            "status": answer.status_code, "type": kind,
            "answer": {name: values[0] for name, values in answer.headers.items()},
            "body": answer.content.decode("utf-8") if is_text else None})
        if answer.status_code >= 500:
            yield f"{answer.status_code}"
        try:
            case.validate_response(answer, checks=CHECKS)
        except schemathesis.checks.FailureGroup as group:
            for failure in group.exceptions:
                yield f"{type(failure).__name__}: {failure}".splitlines()[0]

    def total(self):
        return sum(sum(counter.values()) for counter in self.answers.values())

    def run(self, operation, name, mode, count):
        @hypothesis.seed(self.dice.getrandbits(32))
        @hypothesis.settings(max_examples=count, database=None, deadline=None,
                             phases=[hypothesis.Phase.generate],
                             suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(operation.as_strategy(generation_mode=mode))
        def ask(case):
            self.ask(case, name)

        ask()


def main(url, wanted, seed, jobs):
    fuzz = Fuzz(url, int(seed), json.loads(pathlib.Path(jobs).read_text(encoding="utf-8")))
    schema = schemathesis.openapi.from_url(url + "/openapi.json")
    operations = {result.ok().definition.raw["operationId"]: result.ok()
                  for result in schema.get_all_operations()}
    each = min(ROUND, int(wanted) // len(operations) // 2 + 1)
    for name, operation in itertools.cycle(operations.items()):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong
                fuzz.run(operation, name, mode, each)
        if fuzz.total() >= int(wanted):
            break
    for name, counter in fuzz.answers.items():
        print(f"{name}: {dict(sorted(counter.items()))}")
    for (name, fault), (request, answer) in fuzz.faults.items():
        print(f"{name}: {fault}\n    {request}\n    {answer}")
    print(f"{fuzz.total()} requests, {len(fuzz.faults)} faults")
    return 1 if fuzz.faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
