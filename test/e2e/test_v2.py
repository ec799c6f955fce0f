"""/apiv2 as a modern client uses it: curl and requests, on the embedded backends."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import time

import pytest
from harness import DEADLINE_S, HTTP, STEMS, Hook, files_under, mp3, song_id, wait_for, wav
from ports import free_port

SECRET = base64.b64encode(b"a secret of thirty-two bytes ...").decode()


@pytest.fixture(scope="module")
def site(make_embedded):
    made = make_embedded()
    made.serve()
    made.work(env={"MSAAS_WEBHOOK_SECRET": "whsec_" + SECRET, "MSAAS_CALLBACK_ALLOW": "127.0.0.0/8",
                   "MSAAS_PRECISION": "bf16"})
    yield made
    made.stop()


def curl(*arguments):
    run = subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", str(DEADLINE_S),
                          *map(str, arguments)],
                         capture_output=True, check=True, timeout=DEADLINE_S)
    return run.stdout


def events(site, ident, last=None, until="succeeded", deadline_s=DEADLINE_S):
    """The Server-Sent Events of a job, [(id, event, data)], to the one that says `until`."""
    headers = {"Last-Event-ID": last} if last else {}
    got, event = [], {}
    with HTTP.get(f"{site.url}/apiv2/jobs/{ident}/events", headers=headers, stream=True,
                  timeout=deadline_s) as answer:
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            name, colon, value = line.partition(":")
            if name:
                event[name] = value.removeprefix(" ")
            elif not line and "data" in event:
                got.append((event.get("id"), event.get("event"), json.loads(event["data"])))
                if got[-1][2].get("state") == until:
                    break
                event = {}
    return got


def test_multipart_as_curl_sends_it(site, tmp_path):
    song = mp3(tone=2)
    (tmp_path / "my song.mp3").write_bytes(song)
    head = tmp_path / "head"
    job = json.loads(curl("-D", head, "-F", f"file=@{tmp_path}/my song.mp3", "-F", "format=flac",
                          "-F", "stems=vocals,drums",
                          site.url + "/apiv2/jobs"))
    lines = dict(line.split(": ", 1) for line in head.read_text().lower().splitlines()
                 if ": " in line)
    assert " 202" in head.read_text().splitlines()[0] or " 202" in head.read_text()
    assert lines["location"].endswith(f"/apiv2/jobs/{job['id']}")
    assert job["state"] in ("queued", "running") and job["options"]["format"] == "flac"
    job = site.finished(job["id"])
    assert [stem["name"] for stem in job["stems"]] in (["vocals", "drums"], ["drums", "vocals"])
    site.check_result(job)
    url = job["stems"][0]["url"]
    flac = curl(url if url.startswith("http") else site.url + url)
    assert flac.startswith(b"fLaC")
    assert job["input"]["bytes"] == len(song)
    assert job["input"].get("name", "my song.mp3") == "my song.mp3"
    assert 0.6 < job["input"].get("seconds", 0.7) < 0.8
    assert job["progress"] == 1 and job["attempts"] == 1
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert job["receipt"]


def test_raw_body_with_default_options_is_the_course_s_job(site):
    song = wav(tone=3)
    job = site.submit(song)
    assert job["id"] == song_id(song)
    site.finished(job["id"])
    assert site.separate(song) == job["id"]
    track = site.get(f"/apiv1/track/{job['id']}/bass.mp3")
    stem = site.get(f"/apiv2/jobs/{job['id']}/stems/bass.mp3")
    assert track.content == stem.content and stem.headers["Content-Type"] == "audio/mpeg"


@pytest.mark.parametrize("options,names,magic", [
    ({"format": "wav"}, STEMS, b"RIFF"),
    ({"format": "opus", "two_stems": "vocals"}, ["vocals", "no_vocals"], b"OggS"),
    ({"format": "m4a", "stems": "bass"}, ["bass"], b"\0\0\0"),
    ({"shifts": 1, "seed": 7, "overlap": 0.5, "clip": "clamp", "bitrate": 96, "stems": "other"},
     ["other"], b""),
    ({"precision": "float32", "stems": "bass"}, ["bass"], b""),
], ids=["wav", "two_stems", "m4a", "numbers", "precision"])
def test_options(site, options, names, magic):
    job = site.submit(wav(tone=4), **options)
    alone = set(options) <= {"format", "bitrate", "clip"}  # without a separation of their own
    assert (job["id"] == song_id(wav(tone=4))) == alone
    job = site.finished(job["id"])
    assert sorted(stem["name"] for stem in job["stems"]) == sorted(names)
    site.check_result(job)
    for name, value in options.items():
        said = job["options"][name] if name in job["options"] else job["options"][name + "_kbps"]
        assert said == value or said == [value], (name, job["options"])
    assert job["receipt"]["precision"] == options.get("precision", "bf16")
    stem = f"{names[0]}.{options.get('format', 'mp3')}"
    body = site.get(f"/apiv2/jobs/{job['id']}/stems/{stem}").content
    assert body.startswith(magic)


def test_idempotency_key(site):
    first = site.post("/apiv2/jobs", data=wav(tone=5),
                      headers={"Content-Type": "audio/wav", "Idempotency-Key": "once"})
    again = site.post("/apiv2/jobs", data=wav(tone=5),
                      headers={"Content-Type": "audio/wav", "Idempotency-Key": "once"})
    assert first.status_code == 202 and again.status_code in (200, 202)
    assert first.json()["id"] == again.json()["id"]
    site.finished(first.json()["id"])
    assert site.job(first.json()["id"])["attempts"] == 1


def test_a_key_counts_on_every_replica(site):
    headers = {"Content-Type": "audio/wav", "Idempotency-Key": '"everywhere"'}
    other = site.serve(port=free_port())
    first = site.post("/apiv2/jobs", data=wav(tone=6), headers=headers)
    site.finished(first.json()["id"])
    again = HTTP.post(other.url + "/apiv2/jobs", data=wav(tone=6), headers=headers,
                      timeout=DEADLINE_S)
    assert (again.status_code, again.content) == (202, first.content)
    wrong = HTTP.post(other.url + "/apiv2/jobs", data=wav(tone=7), headers=headers,
                      timeout=DEADLINE_S)
    assert wrong.status_code == 422 and wrong.json()["code"] == "idempotency_key_reused"
    other.terminate()


def test_an_answer_waits_for_the_job(site):
    answer = site.post("/apiv2/jobs", data=wav(tone=16), headers={"Content-Type": "audio/wav",
                                                                  "Prefer": "wait=60"})
    assert answer.status_code == 200 and answer.json()["state"] == "succeeded"
    assert answer.headers["Preference-Applied"] == "wait=60"


def test_list_and_cursor(site):
    made = [site.submit(wav(tone=6, tag=n), stems="bass")["id"] for n in range(5)]
    for ident in made:
        site.finished(ident)
    seen, cursor, pages = [], "", 0
    while True:
        page = site.get("/apiv2/jobs",
                        params={"state": "succeeded", "limit": 2} | ({"cursor": cursor} if cursor
                                                                     else {})).json()
        assert len(page["jobs"]) <= 2
        seen += page["jobs"]
        pages += 1
        cursor = page.get("next_cursor") or page.get("next") or page.get("cursor")
        if not cursor:
            break
    idents = [job["id"] for job in seen]
    assert len(set(idents)) == len(idents) and pages >= 3
    assert [ident for ident in idents if ident in made] == made[::-1]
    assert all(job["state"] == "succeeded" for job in seen)
    assert site.get("/apiv2/jobs?state=running").json()["jobs"] == []


def test_range_etag_head(site):
    job = site.finished(site.submit(wav(tone=7))["id"])
    path = f"/apiv2/jobs/{job['id']}/stems/drums.mp3"
    whole = site.get(path)
    size = len(whole.content)
    etag = whole.headers["ETag"]
    assert whole.headers["Accept-Ranges"] == "bytes" and etag.startswith('"')
    assert hashlib.sha256(whole.content).hexdigest() == next(s["sha256"] for s in job["stems"]
                                                             if s["name"] == "drums")

    for wanted, first, last in (("0-0", 0, 0), ("10-19", 10, 19), ("100-", 100, size - 1),
                                ("-7", size - 7, size - 1),
                                (f"5-{10 * size}", 5, size - 1)):
        part = site.get(path, headers={"Range": f"bytes={wanted}"})
        assert part.status_code == 206, wanted
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
        assert part.content == whole.content[first : last + 1]
    beyond = site.get(path, headers={"Range": f"bytes={size}-"})
    assert beyond.status_code == 416 and beyond.headers["Content-Range"] == f"bytes */{size}"
    assert site.get(path, headers={"Range": "lines=1-2"}).status_code == 200
    assert site.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'}).status_code == 200
    assert site.get(path, headers={"Range": "bytes=0-1", "If-Range": etag}).status_code == 206
    same = site.get(path, headers={"If-None-Match": etag})
    assert same.status_code == 304 and not same.content
    head = HTTP.head(site.url + path, timeout=DEADLINE_S)
    assert head.status_code == 200 and not head.content
    assert int(head.headers["Content-Length"]) == size and head.headers["ETag"] == etag
    assert curl("-I", site.url + path).startswith(b"HTTP/1.1 200")


def test_events(site):
    job = site.submit(wav(6, tone=8))
    got = events(site, job["id"])
    states = [data["state"] for _, _, data in got if "state" in data]
    assert states[-1] == "succeeded"
    progress = [data["progress"] for _, _, data in got if "progress" in data]
    assert progress == sorted(progress) and progress[-1] == 1
    assert all(ident for ident, _, _ in got)
    assert len({ident for ident, _, _ in got}) == len(got)

    # Whoever comes back with the last id it saw gets what it missed, and at least the end.
    missed = events(site, job["id"], last=got[0][0])
    assert missed[-1][2]["state"] == "succeeded"
    assert got[0][0] not in [ident for ident, _, _ in missed]
    late = events(site, job["id"])
    assert late[-1][2]["state"] == "succeeded"


def kept(site, job):
    return [name for name in files_under(site.data / "objects")
            if os.path.basename(name).startswith(job["id"])]


def test_cancel_while_it_runs(site):
    job = site.submit(wav(600, tone=9))
    site.wait_state(job["id"], "running")
    answer = site.delete(f"/apiv2/jobs/{job['id']}")
    assert answer.status_code in (200, 202, 204), answer.text
    wait_for("the job to be gone", lambda: site.get(f"/apiv2/jobs/{job['id']}").status_code == 404)
    site.finished(site.submit(wav(tone=10))["id"])  # the worker is free again
    assert kept(site, job) == []


def test_erase_when_done_and_again(site):
    song = wav(tone=11)
    job = site.finished(site.submit(song)["id"])
    assert site.delete(f"/apiv2/jobs/{job['id']}").status_code in (200, 202, 204)
    assert site.get(f"/apiv2/jobs/{job['id']}").status_code == 404
    assert site.get(f"/apiv2/jobs/{job['id']}/stems/bass.mp3").status_code == 404
    assert kept(site, job) == []
    again = site.finished(site.submit(song)["id"])
    assert [stem["sha256"] for stem in again["stems"]] == [stem["sha256"] for stem in job["stems"]]


def check_signature(headers, body, key):
    headers = {name.lower(): value for name, value in headers.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == "v1," + right
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 2 * DEADLINE_S
    return headers["webhook-id"]


def test_webhook_is_signed(site, hook):
    job = site.submit(wav(tone=12), callback=hook.url + "/v2")
    site.finished(job["id"])
    wait_for("the callback", lambda: hook.got)
    path, headers, body = hook.got[0]
    assert path == "/v2"
    check_signature(headers, body, base64.b64decode(SECRET))
    said = json.loads(body)
    said = said.get("data", said)
    assert said["id"] == job["id"] and said["state"] == "succeeded" and len(said["stems"]) == 4


def test_webhook_is_tried_again(site, hook):
    """With the same id, until it is taken. The first pause is 5 s."""
    hook.status = 503
    job = site.submit(wav(tone=13), callback=hook.url)
    wait_for("the first attempt", lambda: hook.got)
    hook.status = 200
    assert site.finished(job["id"])["state"] == "succeeded"
    wait_for("the second attempt", lambda: len(hook.got) == 2)
    idents = {check_signature(headers, body, base64.b64decode(SECRET))
              for _, headers, body in hook.got}
    assert len(idents) == 1


def test_a_callback_to_a_private_address_is_refused(make_embedded):
    """Of either API; the jobs are accepted."""
    site = make_embedded()
    site.serve()
    worker = site.work()
    hook = Hook()
    urls = (hook.url, hook.local_url, hook.url.replace("127.0.0.1", "[::ffff:127.0.0.1]"))
    try:
        idents = [site.submit(wav(tone=14, tag=n), callback=url)["id"]
                  for n, url in enumerate(urls)]
        idents += [site.separate(wav(tone=15, tag=n), {"url": url, "data": 1})
                   for n, url in enumerate(urls)]
        for ident in idents:
            site.finished(ident)
        wait_for("the refusals in the log",
                 lambda: worker.text().count("callback refused") == len(idents))
        assert "--callback-allow" in worker.text()
        assert not hook.got
    finally:
        hook.close()
        site.stop()


def test_models_and_openapi(site):
    models = site.get("/apiv2/models").json()["models"]
    assert models[0]["name"] == "tiny" and sorted(models[0]["stems"]) == sorted(STEMS)
    described = site.get("/openapi.json")
    assert described.json()["openapi"].startswith("3.1")
    same = site.get("/openapi.json", headers={"If-None-Match": described.headers["ETag"]})
    assert same.status_code == 304 and not same.content


def test_request_ids(site):
    assert site.get("/apiv2/jobs",
                    headers={"X-Request-Id": "abc-123"}).headers["X-Request-Id"] == "abc-123"
    assert site.get("/apiv2/jobs").headers["X-Request-Id"]
