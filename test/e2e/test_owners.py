"""A job belongs to the account that sent it: for all others it does not exist, on any route. What
accounts may use is counted in the queue, for all replicas together."""

import base64
import concurrent.futures
import hashlib
import json
import pathlib
import re
import subprocess

import pytest
from harness import DEADLINE_S, HTTP, free_port, song_id, wait_for, wav

API = pathlib.Path(__file__).resolve().parents[2] / "docs/api.md"
UNKNOWN = "0123456789abcdef" * 3 + "01234567"
# Answers of two requests differ in these, whatever they are about.
VARYING = {"date", "x-request-id"}


def account(site, name, *options):
    """Makes a token; returns the headers that show it."""
    token = site.run("token", "add", name, "--tokens", site.folder / "tokens.json", "--quiet",
                     *options)
    return {"Authorization": f"Bearer {token.strip()}"}


def routes_of_jobs():
    """(method, path) of all routes that name a job, as the table of docs/api.md has them; a test of
    the docs compares it with the program's."""
    text = API.read_text()
    table = text[text.index("<!-- routes:begin -->"):text.index("<!-- routes:end -->")]
    found = []
    for method, path in re.findall(r"^\| `(\w+)` \| `([^`]+)`", table, re.MULTILINE):
        if "{id}" in path and (path.startswith("/apiv1/") or path.startswith("/apiv2/jobs/")):
            found += [(method, path)] + ([("HEAD", path)] if method == "GET" else [])
    assert len(found) > 8
    return found


def ask(site, headers, method, path, ident):
    """What a client can tell of the answer."""
    path = path.replace("{id}", ident).replace("{track}", "vocals").replace("{file}", "vocals.mp3")
    with HTTP.request(method, site.url + path, headers=headers, timeout=DEADLINE_S,
                      stream=True) as answer:
        body = answer.content if answer.status_code >= 400 else b""
        shown = sorted((name, value) for name, value in answer.headers.items()
                       if name.lower() not in VARYING)
    return answer.status_code, shown, body


def send(site, headers, song, path="/apiv2/jobs", **params):
    return HTTP.post(site.url + path, data=song, params=params, timeout=DEADLINE_S,
                     headers=headers | {"Content-Type": "audio/wav"})


def submit(site, headers, song, **params):
    answer = send(site, headers, song, **params)
    assert answer.status_code == 202, answer.text
    return answer.json()


def job_of(site, headers, ident):
    answer = site.get(f"/apiv2/jobs/{ident}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def finished(site, headers, ident):
    return wait_for(f"{ident[:8]} to succeed", lambda: next(
        (job for job in [job_of(site, headers, ident)] if job["state"] == "succeeded"), None))


def listed(site, headers, **params):
    answer = site.get("/apiv2/jobs", headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


def id_of(owner, song):
    """The id of a job with default options, as anybody can compute it who has the song."""
    def digest(text):
        return hashlib.sha224(text.encode()).hexdigest()

    marked = digest(f"{owner}\n{song_id(song)}")[:40] + digest(owner)[:8]
    return marked + digest(marked)[:8]


def test_a_job_of_another_does_not_exist(site):
    """Every route answers for it as for an id that nobody has, byte for byte."""
    alice, bob = account(site, "alice"), account(site, "bob")
    root = account(site, "root", "--scopes", "admin")
    site.serve("--tokens", site.folder / "tokens.json")
    site.work()
    song = wav(tone=5)
    ident = submit(site, alice, song)["id"]
    assert ident == id_of("alice", song)
    finished(site, alice, ident)
    nothing_of_bobs = id_of("bob", song)
    for method, path in routes_of_jobs():
        expected = ask(site, bob, method, path, UNKNOWN)
        assert expected[0] == (405 if (method, path[:14]) == ("HEAD", "/apiv1/remove/") else 404)
        assert ask(site, bob, method, path, ident) == expected, (method, path)
        assert ask(site, bob, method, path, nothing_of_bobs) == expected, (method, path)
        assert ask(site, bob, method, path, song_id(song)) == expected, (method, path)
    assert listed(site, bob) == listed(site, bob, state="succeeded") == []

    # Nothing has happened to it; its owner and an admin see it, and only the admin whose it is.
    for headers in alice, root:
        seen = [(method, path) for method, path in routes_of_jobs() if method in ("GET", "HEAD")
                and "remove" not in path and "preview" not in path]  # which goes with the work
        for method, path in seen:
            assert ask(site, headers, method, path, ident)[0] != 404, (method, path)
        assert listed(site, headers) == listed(site, headers, state="succeeded") == [ident]
    assert "owner" not in job_of(site, alice, ident)
    assert job_of(site, root, ident)["owner"] == "alice"

    # The same song of another is another job, and none is the other's affair.
    other = submit(site, bob, song)
    assert other["id"] == nothing_of_bobs and other["attempts"] == 0
    finished(site, bob, other["id"])
    assert listed(site, bob) == [other["id"]]
    assert listed(site, root) == [other["id"], ident]
    assert site.delete(f"/apiv2/jobs/{other['id']}", headers=bob).status_code == 204
    assert ask(site, alice, "GET", "/apiv1/track/{id}/{track}", ident)[0] == 200
    assert site.delete(f"/apiv2/jobs/{ident}", headers=root).status_code == 204
    assert listed(site, root) == []


def test_waiting_jobs_of_others_are_not_told_of(site):
    alice, bob = account(site, "alice"), account(site, "bob")
    root = account(site, "root", "--scopes", "admin")
    site.serve("--tokens", site.folder / "tokens.json", "--apiv1", "open")
    mine = [submit(site, alice, wav(tone=tone))["id"] for tone in (1, 2)]
    his = submit(site, bob, wav(tone=1))["id"]
    nobodys = site.separate(wav(tone=1))
    assert nobodys == song_id(wav(tone=1))
    assert listed(site, alice) == mine[::-1]
    assert listed(site, alice, limit=1) == mine[1:]
    assert listed(site, bob, state="queued") == [his]
    assert set(listed(site, root)) == {*mine, his, nobodys}
    # An open /apiv1 knows what has no owner, and nothing else.
    assert site.get("/apiv1/queue").json() == {"queue": [nobodys]}
    for ident in mine[0], his:
        for path in "/apiv1/track/{id}/{track}", "/apiv1/remove/{id}/{track}":
            expected = ask(site, {}, "GET", path, UNKNOWN)
            assert ask(site, {}, "GET", path, ident) == expected
    # Whose it is shows in its events, too, to an admin alone.
    for headers, shown in (alice, False), (root, True):
        with site.get(f"/apiv2/jobs/{mine[0]}/events", headers=headers, stream=True) as answer:
            assert answer.status_code == 200
            line = next(line for line in answer.iter_lines(chunk_size=1)
                        if line.startswith(b"data:"))
        assert (b'"owner":"alice"' in line) == shown


def test_apiv1_with_a_token(site):
    alice, bob = account(site, "alice"), account(site, "bob")
    site.serve("--tokens", site.folder / "tokens.json")
    songs = [submit(site, who, wav(tone=1))["id"] for who in (alice, bob)]
    for who, ident in zip((alice, bob), songs, strict=True):
        assert site.get("/apiv1/queue", headers=who).json() == {"queue": [ident]}


def test_each_is_called_for_its_own(site, hook):
    """Of one song that four send, by both APIs, before and after it is done: whoever asked to be
    called is, as often as it asked, and is told of its own job alone."""
    names = "alice", "bob", "carol", "dave"
    who = {name: account(site, name) for name in names}
    root = account(site, "root", "--scopes", "admin")
    site.serve("--tokens", site.folder / "tokens.json")
    song = wav(tone=4)
    ids = {name: id_of(name, song) for name in names}

    def ask_for(name, number):
        job = submit(site, who[name], song, callback_url=f"{hook.url}/{name}/{number}")
        assert job["id"] == ids[name]

    def callbacks_due():
        text = site.get("/metrics", headers=root).text
        return float(re.search(r"^msaas_callbacks_due (\S+)", text, re.MULTILINE)[1])

    ask_for("alice", 1)
    ask_for("alice", 2)
    for number in 1, 2:
        answer = site.post("/apiv1/separate", headers=who["bob"], json={
            "mp3": base64.b64encode(song).decode(),
            "callback": {"url": f"{hook.url}/bob/{number}", "data": {"secret": f"bob's {number}"}}})
        assert answer.json()["hash"] == ids["bob"]
    submit(site, who["carol"], song)
    site.work("--callback-allow", "127.0.0.0/8")
    for name in "alice", "bob", "carol":
        finished(site, who[name], ids[name])
    wait_for("the first callbacks", lambda: len(hook.got) >= 4)
    ask_for("dave", 1)
    wait_for("that of the last", lambda: len(hook.got) >= 5)
    ask_for("alice", 3)  # is called at once
    wait_for("that of the finished job", lambda: len(hook.got) >= 6)
    wait_for("no callback to be left", lambda: callbacks_due() == 0)
    assert sorted(path for path, _, _ in hook.got) == [
        "/alice/1", "/alice/2", "/alice/3", "/bob/1", "/bob/2", "/dave/1"]
    for path, _, body in hook.got:
        name, number = path.split("/")[1:]
        if name == "bob":
            assert json.loads(body) == {"secret": f"bob's {number}"}
            continue
        assert json.loads(body)["id"] == ids[name]
        foreign = [*(set(names) - {name}), *(set(ids.values()) - {ids[name]}), song_id(song),
                   "secret", "owner", "charged", hook.url]
        assert [word for word in foreign if word.encode() in body] == []


# ---- limits ----


def parse(field):
    """A list of strings with parameters (RFC 9651): {name: {parameter: value}}."""
    policies = {}
    for item in field.split(", "):
        name, *parameters = item.split(";")
        policies[name.strip('"')] = {
            key: value.strip('"') if value.startswith('"') else int(value)
            for key, value in (parameter.split("=") for parameter in parameters)}
    return policies


def refused(answer, limit):
    assert answer.status_code == 429, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "quota" and answer.json()["status"] == 429
    left = parse(answer.headers["RateLimit"])[limit]
    assert int(answer.headers["Retry-After"]) >= left.get("t", 1)
    return answer.json()["detail"]


@pytest.fixture
def two(site):
    """Two replicas; nobody works."""
    carol = account(site, "carol", "--max-waiting", 5, "--max-minutes-a-day", 2)
    dave = account(site, "dave", "--max-mb-a-day", 1)
    erin = account(site, "erin")
    first = site.serve("--tokens", site.folder / "tokens.json")
    second = site.serve("--tokens", site.folder / "tokens.json", port=free_port())
    site.urls = [first.url, second.url]
    return site, carol, dave, erin


def at_once(site, headers, songs):
    """Sends them all at the same time, to both replicas in turn."""
    with concurrent.futures.ThreadPoolExecutor(len(songs)) as pool:
        return list(pool.map(
            lambda pair: HTTP.post(site.urls[pair[0] % 2] + "/apiv2/jobs", data=pair[1],
                                   headers=headers | {"Content-Type": "audio/wav"},
                                   timeout=DEADLINE_S), enumerate(songs)))


def test_jobs_that_wait_are_limited_over_replicas(two):
    site, carol, _, erin = two
    songs = [wav(tone=1, tag=number) for number in range(12)]
    answers = at_once(site, carol, songs)
    taken = [answer for answer in answers if answer.status_code == 202]
    assert len(taken) == 5
    for answer in answers:
        assert parse(answer.headers["RateLimit-Policy"]) == {
            "waiting": {"q": 5, "qu": "jobs"},
            "music": {"q": 120, "qu": "seconds", "w": 86400}}
        if answer not in taken:
            assert "5 jobs of account carol wait" in refused(answer, "waiting")
    assert min(parse(answer.headers["RateLimit"])["waiting"]["r"] for answer in taken) == 0
    assert len(listed(site, carol)) == 5
    # The songs that were refused are not kept.
    if hasattr(site, "data"):
        wait_for("five songs", lambda: len(list((site.data / "objects/queue").iterdir())) == 5)
    # What is there already is not refused, nor counted.
    again = taken[0].json()["id"]
    song = next(song for song in songs if id_of("carol", song) == again)
    assert submit(site, carol, song)["id"] == again
    # Room is made by erasing, and others have limits of their own, or none.
    assert site.delete(f"/apiv2/jobs/{again}", headers=carol).status_code == 204
    assert send(site, carol, wav(tone=2)).status_code == 202
    assert "RateLimit" not in send(site, erin, wav(tone=2)).headers


def test_minutes_and_bytes_of_a_day_are_limited_over_replicas(two):
    site, carol, dave, _ = two
    # 25 s at an overlap of 0.5 cost 50 s: two fit into 2 minutes, not three.
    answers = [send(site, carol, wav(25, tone=1, tag=number), overlap=0.5) for number in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert [parse(answer.headers["RateLimit"])["music"]["r"] for answer in answers] == [70, 20, 20]
    assert "1.7 of its 2.0 minutes" in refused(answers[2], "music")
    # /apiv1 and the other replica count the same; erasing gives nothing back.
    for job in listed(site, carol):
        assert site.delete(f"/apiv2/jobs/{job}", headers=carol).status_code == 204
    refused(at_once(site, carol, [wav(25, tone=1, tag=0)] * 2)[1], "music")
    # What is short enough still fits; what never fits is told apart.
    assert send(site, carol, wav(8, tone=3), overlap=0).status_code == 202
    answer = send(site, carol, wav(130, tone=3), overlap=0)
    assert answer.status_code == 422 and answer.json()["code"] == "too_costly"

    songs = [wav(20, tone=1, tag=number) for number in range(6)]  # of 320 kB
    answers = at_once(site, dave, songs)
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 3
    for answer in answers:
        policy = parse(answer.headers["RateLimit-Policy"])
        assert policy == {"bytes": {"q": 1000000, "qu": "content-bytes", "w": 86400}}
        if answer.status_code == 429:
            refused(answer, "bytes")
    answer = send(site, dave, wav(63, tone=1))
    assert answer.status_code == 413 and answer.json()["code"] == "too_large"


def test_uploads_count_when_they_begin(two):
    site, _, dave, erin = two
    song = wav(20, tone=1)  # 320 kB

    def begin(who, length, url):
        return HTTP.post(url + "/apiv2/uploads", timeout=DEADLINE_S, headers=who | {
            "Tus-Resumable": "1.0.0", "Upload-Length": str(length)})

    def job_of_upload(**options):
        return HTTP.post(site.url + "/apiv2/jobs", headers=dave, timeout=DEADLINE_S,
                         json={"source": {"upload": upload.json()["id"]}} | options)

    def left(answer):
        assert answer.status_code in (201, 202), answer.text
        return parse(answer.headers["RateLimit"])["bytes"]["r"]

    upload = begin(dave, len(song), site.urls[0])
    assert left(upload) == 1000000 - len(song)
    assert left(begin(dave, 300000, site.urls[1])) == 700000 - len(song)
    answer = begin(dave, 400000, site.urls[0])
    assert f"sent {300000 + len(song)} of its 1000000 bytes" in refused(answer, "bytes")
    answer = begin(dave, 1000001, site.urls[0])
    assert answer.status_code == 413 and answer.json()["code"] == "too_large"
    assert "RateLimit" not in begin(erin, 400000, site.urls[1]).headers

    # The upload has paid for the first job that is made of it; another one is another copy.
    answer = HTTP.patch(site.urls[1] + upload.headers["Location"], data=song, timeout=DEADLINE_S,
                        headers=dave | {"Tus-Resumable": "1.0.0", "Upload-Offset": "0",
                                        "Content-Type": "application/offset+octet-stream"})
    assert answer.status_code == 204
    answer = job_of_upload()
    assert left(answer) == 700000 - len(song)
    assert site.delete(f"/apiv2/jobs/{answer.json()['id']}", headers=dave).status_code == 204
    assert left(job_of_upload()) == 700000 - len(song)
    assert left(job_of_upload(two_stems="vocals")) == 700000 - 2 * len(song)
    refused(job_of_upload(two_stems="drums"), "bytes")


def test_submit_does_not_wait_for_another_day(two):
    site, *_ = two
    token = site.run("token", "add", "frank", "--tokens", site.folder / "tokens.json", "--quiet",
                     "--max-mb-a-day", 15).strip()
    bearer = {"Authorization": f"Bearer {token}"}
    wait_for("frank to be known", lambda: site.get("/apiv2/jobs", headers=bearer).ok)
    song = site.folder / "large.wav"
    song.write_bytes(wav(1, tag="x" * (9 << 20)))
    mine = {"MSAAS_TOKEN": token, "XDG_STATE_HOME": str(site.folder)}
    assert len(site.run("submit", song, env=mine).strip()) == 56
    song.write_bytes(wav(1, tag="y" * (9 << 20)))
    site.run("submit", song, env=mine, expect=1)

    def refusals():  # the server notes an answer after the client has it
        return "".join(process.text() for process in site.processes).count(
            "POST /apiv2/uploads 429")

    wait_for("the refusal in the log", refusals)
    assert refusals() == 1


def test_the_length_is_charged_when_the_worker_knows_it(two):
    """An MP3 without a Xing frame does not tell its length."""
    site, carol, _, _ = two
    song = subprocess.run(["lame", "--quiet", "-t", "-b", "64", "-", "-"],
                          input=wav(100, rate_hz=44100), capture_output=True, check=True,
                          timeout=DEADLINE_S).stdout
    job = submit(site, carol, song, overlap=0)
    assert job["cost"] is None
    site.work()
    finished(site, carol, job["id"])
    answer = send(site, carol, wav(25, tone=1), overlap=0)
    assert 15 <= parse(answer.headers["RateLimit"])["music"]["r"] <= 20
    refused(answer, "music")
