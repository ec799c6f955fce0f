"""Resumable uploads: tus 1.0 as its specification has it, on both pairs of backends, whatever ends
in the middle; jobs made of them; `msaas submit`, which sends large songs so."""

import base64
import hashlib
import random
import re
import socket
import threading
import time

import harness
import pytest
from harness import HTTP, wait_for
from relay import Relay

BYTES = "application/offset+octet-stream"
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = 8 << 20  # what serve stores at once


def large_song(size, tag="a"):
    """A short song in a large file."""
    random.seed(f"{tag}{size}")
    return harness.wav(tag=random.randbytes(size // 2).hex())


def create(site, length, url=None, expect=201, body=None, **headers):
    more = {} if body is None else {"Content-Type": BYTES}
    answer = HTTP.post((url or site.url) + "/apiv2/uploads", data=body, timeout=harness.DEADLINE_S,
                       headers=TUS | {"Upload-Length": str(length)} | more | headers)
    assert answer.status_code == expect, answer.text
    if expect not in (401, 403):
        assert answer.headers["Tus-Resumable"] == "1.0.0"
    if expect == 201:
        assert re.fullmatch(r"/apiv2/uploads/[0-9a-f]{32}", answer.headers["Location"])
        assert answer.json()["id"] == answer.headers["Location"].rpartition("/")[2]
    return answer.headers.get("Location"), answer


def patch(site, path, offset, body, expect=204, url=None, **headers):
    answer = HTTP.patch((url or site.url) + path, data=body, timeout=harness.DEADLINE_S,
                        headers=TUS | {"Content-Type": BYTES, "Upload-Offset": str(offset)} |
                        headers)
    assert answer.status_code == expect, (answer.status_code, answer.text)
    return answer


def offset(site, path, url=None):
    answer = HTTP.head((url or site.url) + path, headers=TUS, timeout=harness.DEADLINE_S)
    assert answer.status_code == 200, answer.status_code
    assert answer.headers["Cache-Control"] == "no-store"
    return int(answer.headers["Upload-Offset"])


def ident(path):
    return path.rpartition("/")[2]


def make_job(site, path, expect=202, **options):
    answer = site.post("/apiv2/jobs", json={"source": {"upload": ident(path)}} | options)
    assert answer.status_code == expect, answer.text
    return answer.json()


def code(answer):
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.json()["code"]


def metadata(**values):
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}"
                    for key, value in values.items())


class Raw:
    """A connection that can stop anywhere."""

    def __init__(self, site, path, offset, length, port=None):
        self.socket = socket.create_connection(("127.0.0.1", port or site.port))
        self.socket.sendall(
            f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n"
            f"Content-Type: {BYTES}\r\nUpload-Offset: {offset}\r\n"
            f"Content-Length: {length}\r\n\r\n".encode())

    def send(self, data):
        self.socket.sendall(data)

    def answer(self):
        text = b""
        while b"\r\n\r\n" not in text:
            got = self.socket.recv(4096)
            if not got:
                break
            text += got
        return text.decode(errors="replace")

    def close(self):
        self.socket.close()


def test_protocol(site):
    site.serve()
    answer = HTTP.options(site.url + "/apiv2/uploads", timeout=harness.DEADLINE_S)
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Extension"].split(",") == [
        "creation", "creation-with-upload", "expiration", "termination", "checksum"]
    assert answer.headers["Tus-Max-Size"] == "256000000"
    assert set(answer.headers["Tus-Checksum-Algorithm"].split(",")) == {"sha1", "sha256"}

    names = metadata(filename="Größe ♪.wav", filetype="audio/wav")
    path, answer = create(site, 10, **{"Upload-Metadata": names})
    assert answer.headers["Upload-Offset"] == "0"
    assert re.match(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", answer.headers["Upload-Expires"])
    assert answer.json()["name"] == "Größe ♪.wav"
    head = HTTP.head(site.url + path, headers=TUS)
    assert (head.headers["Upload-Length"], head.headers["Upload-Offset"]) == ("10", "0")
    assert head.headers["Upload-Metadata"] == names
    assert site.get(path).json()["length"] == 10  # for people, without tus

    assert patch(site, path, 0, b"abc").headers["Upload-Offset"] == "3"
    assert patch(site, path, 3, b"").headers["Upload-Offset"] == "3"
    sha1 = base64.b64encode(hashlib.sha1(b"defg").digest()).decode()
    checked = {"Upload-Checksum": f"sha1 {sha1}"}
    assert patch(site, path, 3, b"defg", **checked).headers["Upload-Offset"] == "7"
    answer = HTTP.post(site.url + path, data=b"hij", headers=TUS | {
        "X-HTTP-Method-Override": "PATCH", "Content-Type": BYTES, "Upload-Offset": "7"})
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "10")
    assert offset(site, path) == 10

    path, answer = create(site, 8, body=b"with")
    assert answer.headers["Upload-Offset"] == "4"
    assert offset(site, path) == 4
    assert HTTP.delete(site.url + path, headers=TUS).status_code == 204
    assert HTTP.head(site.url + path, headers=TUS).status_code == 404
    assert HTTP.delete(site.url + path, headers=TUS).status_code == 404


def test_refusals(site):
    site.serve("--max-song-mb", 1)
    path, _ = create(site, 10)
    # Whoever speaks no tus, or another one.
    for method, where in ((HTTP.post, "/apiv2/uploads"), (HTTP.patch, path), (HTTP.head, path),
                          (HTTP.delete, path)):
        for version in ({}, {"Tus-Resumable": "0.2.2"}):
            answer = method(site.url + where, headers=version)
            assert answer.status_code == 412, answer.text
            assert answer.headers["Tus-Version"] == "1.0.0"
    # Creation.
    assert code(create(site, 1_000_001, expect=413)[1]) == "too_large"
    for length in ("", "-1", "1e3", "9" * 19, "0x10"):
        assert code(create(site, length, expect=400)[1]) == "invalid_upload"
    answer = HTTP.post(site.url + "/apiv2/uploads", headers=TUS | {"Upload-Defer-Length": "1"})
    assert answer.status_code == 400
    for names in ("a ???", ",", "a b c", "x" * 3000):
        assert code(create(site, 1, expect=400, **{"Upload-Metadata": names})[1]) == \
            "invalid_upload"
    answer = HTTP.post(site.url + "/apiv2/uploads", data=b"abc", headers=TUS | {
        "Upload-Length": "3", "Content-Type": "audio/wav"})
    assert answer.status_code == 415
    # Bytes.
    assert code(patch(site, path, 0, b"a", expect=415, **{"Content-Type": "audio/wav"})) == \
        "unsupported_media_type"
    for wrong in (1, 11, 10**17):
        answer = patch(site, path, wrong, b"a", expect=409)
        assert code(answer) == "upload_conflict" and answer.headers["Upload-Offset"] == "0"
    for wrong in ("", "-1", "a"):
        assert code(patch(site, path, wrong, b"a", expect=400)) == "invalid_upload"
    assert code(patch(site, path, 0, b"a" * 11, expect=413)) == "too_large"
    for wrong in ("md5 1B2M2Y8AsgTpgAmY7PhCfg==", "sha1", "sha1 ???", "sha1 YQ==", "sha1  "):
        assert code(patch(site, path, 0, b"a", expect=400, **{"Upload-Checksum": wrong})) == \
            "invalid_upload"
    other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    answer = patch(site, path, 0, b"abc", expect=460, **{"Upload-Checksum": f"sha256 {other}"})
    assert code(answer) == "checksum_mismatch"
    assert offset(site, path) == 0
    # Nothing there.
    for unknown in ("0" * 32, "x", "record", "0" * 200):
        unknown = "/apiv2/uploads/" + unknown
        assert code(patch(site, unknown, 0, b"a", expect=404)) == "unknown_upload"
        assert HTTP.head(site.url + unknown, headers=TUS).status_code == 404
        assert HTTP.delete(site.url + unknown, headers=TUS).status_code == 404
    assert HTTP.put(site.url + path, headers=TUS).status_code == 405
    assert HTTP.post(site.url + path, headers=TUS).status_code == 405
    # Jobs.
    assert make_job(site, path, expect=409)["code"] == "upload_incomplete"
    assert make_job(site, "0" * 32, expect=422)["code"] == "unknown_upload"
    patch(site, path, 0, b"no song at")
    assert make_job(site, path, expect=422)["code"] == "not_audio"
    path, _ = create(site, 0)
    assert make_job(site, path, expect=422)["code"] == "empty_audio"
    assert make_job(site, path, expect=422, shift=1)["code"] == "unknown_option"
    assert make_job(site, path, expect=400, name=1)["code"] == "invalid_json"


def test_parallel_patches(site):
    """Of many that send the same bytes one wins, and the song is not torn."""
    site.serve()
    size = 3 * PIECE + 17
    path, _ = create(site, size)
    bodies = [bytes([number]) * size for number in range(6)]
    codes = []

    def send(body):
        # A refused client may find its connection closed before its answer.
        try:
            codes.append(HTTP.patch(site.url + path, data=body, timeout=harness.DEADLINE_S,
                                    headers=TUS | {"Content-Type": BYTES, "Upload-Offset": "0"}
                                    ).status_code)
        except harness.requests.ConnectionError:
            codes.append(409)

    threads = [threading.Thread(target=send, args=[body]) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes)[1:] == [409] * 5 and codes.count(204) <= 1, codes
    reached = offset(site, path)
    if 204 in codes:
        assert reached == size
    assert make_job(site, path, expect=422 if reached == size else 409)["code"] in (
        "not_audio", "upload_incomplete")


def test_broken_connections(site):
    """What has come before a connection breaks is kept: whole pieces, and the rest of one."""
    first = site.serve()
    size = PIECE + 5_000_000
    song = large_song(size)
    path, _ = create(site, len(song))
    at = 0
    for cut in (1, 100_000, PIECE + 3):
        raw = Raw(site, path, at, len(song) - at)
        raw.send(song[at:at + cut])
        raw.close()
        wait_for("what has come", lambda: offset(site, path) == at + cut)
        at += cut
    # SIGKILL: whole pieces are there, on another replica, too.
    second = site.serve(port=harness.free_port())
    raw = Raw(site, path, at, len(song) - at)
    raw.send(song[at:at + 1000])
    first.kill()
    at = offset(site, path, url=second.url)
    patch(site, path, at, song[at:], url=second.url)
    # ... and in a new process on the old port. The job is that of the same song, sent whole.
    site.serve()
    job = make_job(site, path, name="n")
    assert job["id"] == harness.song_id(song)
    assert job["input"]["bytes"] == len(song)
    assert site.submit(song)["id"] == job["id"]


def test_jobs(site):
    site.serve()
    site.work()
    song = large_song(2 * PIECE + 12345, "jobs")
    path, _ = create(site, len(song), **{"Upload-Metadata": metadata(filename="dir/Größe.wav")})
    at = 0
    for size in (1, 1000, PIECE - 7, PIECE + 99, len(song)):  # no piece ends where a part does
        at = int(patch(site, path, at, song[at:at + size]).headers["Upload-Offset"])
    assert at == len(song)
    job = make_job(site, path)
    assert job["id"] == harness.song_id(song)
    assert job["input"] == job["input"] | {"name": "Größe.wav", "bytes": len(song)}
    assert make_job(site, path)["id"] == job["id"]  # an answer that was lost
    site.check_result(site.finished(job["id"]))
    other = make_job(site, path, name="mine", two_stems="vocals", shifts=1, format="flac")
    assert other["id"] != job["id"]
    assert other["input"]["name"] == "mine"
    assert other["options"] == other["options"] | {"two_stems": "vocals", "format": "flac"}
    whole = site.submit(song, two_stems="vocals", shifts=1, format="flac")
    assert whole["id"] == other["id"]
    assert set(site.check_result(site.finished(other["id"]))) == {"vocals", "no_vocals"}
    assert HTTP.delete(site.url + path, headers=TUS).status_code == 204
    assert make_job(site, path, expect=422)["code"] == "unknown_upload"
    assert site.finished(job["id"])


def test_names_are_those_of_forms(site):
    """Without folders, and cut where they are too long, between two characters."""
    site.serve()
    song = harness.wav(tone=3)
    for name in "dir/Größe.wav", "dir/" + "ö" * 200 + ".wav", "a" * 254 + "♪", "x" * 300:
        path, answer = create(site, len(song), **{"Upload-Metadata": metadata(filename=name)})
        patch(site, path, 0, song)
        job = make_job(site, path)
        site.delete("/apiv2/jobs/" + job["id"])
        form = site.post("/apiv2/jobs", files={"file": (name, song)}).json()
        site.delete("/apiv2/jobs/" + form["id"])
        assert 0 < len(form["input"]["name"].encode()) < 256
        assert job["input"]["name"] == answer.json()["name"] == form["input"]["name"]


def test_expiry(site):
    """An upload that has expired is 410, then swept by a worker; a younger one stays."""
    site.serve("--upload-keep", 0.0003)  # about a second
    young = site.serve(port=harness.free_port())
    song = harness.wav()
    kept, _ = create(site, len(song), url=young.url)
    path, answer = create(site, len(song), body=song)
    assert answer.headers["Upload-Offset"] == str(len(song))
    made_s = time.time()
    wait_for("410", lambda: HTTP.head(site.url + path, headers=TUS).status_code == 410)
    assert code(patch(site, path, len(song), b"", expect=410)) == "upload_expired"
    assert make_job(site, path, expect=422)["code"] == "unknown_upload"
    # The worker looks once at its start, and then only after an hour.
    wait_for("all of it to be old enough", lambda: time.time() > made_s + 2)
    site.work("--upload-keep", 0.0003, env={"MSAAS_LOG_LEVEL": "debug"})
    wait_for("404", lambda: HTTP.head(site.url + path, headers=TUS).status_code == 404)
    if hasattr(site, "data"):
        wait_for("its folder to go", lambda: not (
            site.data / "objects/queue/uploads" / ident(path)).exists())
    # Swept, too: this worker keeps uploads no longer. One with the default would leave it.
    wait_for("404", lambda: HTTP.head(site.url + kept, headers=TUS).status_code == 404)


def test_uploads_of_others(make_embedded, tmp_path):
    """An upload belongs to the token that began it: to others there is none."""
    site = make_embedded()
    tokens = site.folder / "tokens.json"
    names = {name: site.run("token", "add", name, "--tokens", tokens, *more).strip()
             for name, more in (("ann", []), ("bob", []), ("boss", ["--scopes", "admin"]),
                                ("eye", ["--scopes", "read"]))}
    serve = site.serve("--tokens", tokens)
    bearer = {name: {"Authorization": f"Bearer {token}"} for name, token in names.items()}
    song = harness.wav()
    path, _ = create(site, len(song), **bearer["ann"])
    create(site, 1, expect=401)
    create(site, 1, expect=403, **bearer["eye"])
    for name, status in (("ann", 200), ("bob", 404), ("boss", 200), ("eye", 403)):
        for method in (HTTP.head, HTTP.get):
            answer = method(site.url + path, headers=TUS | bearer[name])
            assert answer.status_code == status, name
    patch(site, path, 0, song, expect=404, **bearer["bob"])
    assert HTTP.delete(site.url + path, headers=TUS | bearer["bob"]).status_code == 404
    patch(site, path, 0, song, **bearer["ann"])
    for name, status in (("bob", 422), ("ann", 202)):
        answer = site.post("/apiv2/jobs", json={"source": {"upload": ident(path)}},
                           headers=bearer[name])
        assert answer.status_code == status, answer.text
    large = site.folder / "large.wav"
    large.write_bytes(large_song(PIECE + 1, "of ann"))
    made = site.run("submit", large, env={"MSAAS_TOKEN": names["ann"], "XDG_STATE_HOME": tmp_path})
    assert len(made.strip()) == 56 and uploads(site, serve)[2] > 2


def test_presigned(make_scaled, make_embedded):
    """The client may put the song into the store itself: once, and of the size that it said."""
    site = make_scaled()
    site.serve("--presign", 600)
    song = large_song(PIECE + 99, "presigned")
    assert create(site, len(song))[1].json()["put_url"] is None
    answer = HTTP.post(site.url + "/apiv2/uploads", params={"presign": "true"},
                       headers=TUS | {"Upload-Length": str(len(song))})
    path, url = answer.headers["Location"], answer.json()["put_url"]
    once = {"If-None-Match": "*"}
    assert HTTP.put(url, data=song + b"x", headers=once).status_code == 403
    assert HTTP.put(url, data=song).status_code == 403
    assert offset(site, path) == 0
    assert HTTP.put(url, data=song, headers=once).status_code == 200
    assert HTTP.put(url, data=song, headers=once).status_code == 412
    assert offset(site, path) == len(song)
    assert make_job(site, path)["id"] == harness.song_id(song)
    answer = HTTP.post(site.url + "/apiv2/uploads", params={"presign": "maybe"},
                       headers=TUS | {"Upload-Length": "1"})
    assert answer.status_code == 422

    site.stop()
    site = make_embedded()
    site.serve()
    answer = HTTP.post(site.url + "/apiv2/uploads", params={"presign": "true"},
                       headers=TUS | {"Upload-Length": "1"})
    assert answer.status_code == 201 and answer.json()["put_url"] is None


# ---- msaas submit ----


def uploads(site, process):
    """How often the server was asked to begin or to go on."""
    return [len(re.findall(f"{method} /apiv2/uploads", process.text()))
            for method in ("POST", "HEAD", "PATCH")]


def notes(site):
    return list((site.folder / "state/msaas/uploads").glob("*"))


def note(site):
    """The id that `msaas submit` noted; "" while it has noted none. Beside a note may lie, for a
    moment, the file that becomes one."""
    ids = [path.read_text().strip() for path in notes(site) if "-" not in path.name]
    assert len(ids) <= 1
    return ids[0] if ids else ""


@pytest.fixture
def relay():
    made = []

    def start(site, most=None):
        made.append(Relay(lambda: site.port, most))
        return made[-1]
    yield start
    for each in made:
        each.shutdown()
        each.server_close()


def start_client(site, url, song, **env):
    """`msaas submit`; its notes lie in the site's folder."""
    return site.start("submit", "--server", url, song,
                      env={"XDG_STATE_HOME": site.folder / "state"} | env)


def test_submit_sends_large_songs_as_uploads(site):
    serve = site.serve()
    path = site.folder / "large.wav"
    path.write_bytes(large_song(PIECE + 999_999, "submit"))
    small = site.folder / "small.wav"
    small.write_bytes(harness.wav())
    process = start_client(site, site.url, path)
    assert process.wait() == 0, process.text()
    ident = process.text().strip().splitlines()[-1]
    assert ident == harness.song_id(path.read_bytes())
    assert site.job(ident)["input"]["name"] == "large.wav"
    assert uploads(site, serve)[0] == 1
    assert notes(site) == []
    assert start_client(site, site.url, small).wait() == 0
    assert uploads(site, serve)[0] == 1
    if hasattr(site, "data"):  # the upload is gone again
        wait_for("no folder", lambda: not (site.data / "objects/queue/uploads").exists())
    path.write_bytes(b"x" * (PIECE + 1))
    process = start_client(site, site.url, path)
    assert process.wait() == 1 and "not_audio" in process.text()
    assert notes(site) == []


def test_submit_goes_on(site, relay):
    """The client is killed, then the server; each time the same command goes on where it was."""
    serve = site.serve()
    path = site.folder / "large.wav"
    path.write_bytes(large_song(6 * PIECE, "goes on"))
    way = relay(site, 2 * PIECE)
    process = start_client(site, way.url, path)
    wait_for("the first piece", lambda: note(site) and
             offset(site, "/apiv2/uploads/" + note(site)) > 0)
    upload = "/apiv2/uploads/" + note(site)
    way.kill(process)
    wait_for("the server to notice", lambda: uploads(site, serve)[2] == 1)
    reached = offset(site, upload)
    assert 0 < reached < path.stat().st_size

    way.most += 2 * PIECE
    process = start_client(site, way.url, path)
    wait_for("more", lambda: offset(site, upload) > reached or uploads(site, serve)[0] > 1 or
             not process.running())
    assert uploads(site, serve)[0] == 1  # the second run began none ...
    assert f"PATCH {upload} 409" not in serve.text()  # ... and went on where the first was killed
    assert process.running()
    serve.kill()
    site.serve()
    way.most = None
    assert process.wait() == 0, process.text()
    assert process.text().strip().splitlines()[-1] == harness.song_id(path.read_bytes())
    assert notes(site) == []
    # Another run is another upload, and one that has vanished is begun anew.
    way.most = way.passed + PIECE
    process = start_client(site, way.url, path)
    wait_for("a note", lambda: note(site))
    way.kill(process)
    HTTP.delete(f"{site.url}/apiv2/uploads/{note(site)}", headers=TUS)
    way.most = None
    process = start_client(site, way.url, path)
    assert process.wait() == 0, process.text()
    assert notes(site) == []


def test_submit_goes_on_with_its_own_token_only(make_embedded, relay):
    """Another account that sends the same song begins anew, and takes nothing from the first."""
    site = make_embedded()
    tokens = site.folder / "tokens.json"
    keys = {name: site.run("token", "add", name, "--tokens", tokens).strip()
            for name in ("ann", "bob")}
    serve = site.serve("--tokens", tokens)
    path = site.folder / "large.wav"
    path.write_bytes(large_song(4 * PIECE, "of both"))
    way = relay(site, 2 * PIECE)

    def start(name):
        return start_client(site, way.url, path, MSAAS_TOKEN=keys[name])

    process = start("ann")
    wait_for("the first piece", lambda: note(site) and int(
        HTTP.head(f"{site.url}/apiv2/uploads/{note(site)}",
                  headers=TUS | {"Authorization": f"Bearer {keys['ann']}"}).headers.get(
                      "Upload-Offset", 0)) > 0)
    way.kill(process)
    way.most = None
    text = note(site)
    for name, begun in ("bob", 2), ("ann", 2):
        process = start(name)
        assert process.wait() == 0, process.text()
        assert uploads(site, serve)[0] == begun
        if name == "bob":
            assert note(site) == text
    assert notes(site) == []
    assert f"PATCH /apiv2/uploads/{text} 204" in serve.text()


def test_submit_to_an_earlier_release(make_site, tmp_path):
    """A server without uploads gets large songs as ever."""
    import http.server
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            got.append((self.path, len(body)))
            old = self.path.startswith("/apiv2/jobs")
            text = b'{"id": "%s", "state": "queued"}' % (b"0" * 56) if old else b"{}"
            self.send_response(202 if old else 404)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    song = tmp_path / "large.wav"
    song.write_bytes(b"x" * (PIECE + 1))
    site = make_site({})
    said = site.run("submit", "--server", f"http://127.0.0.1:{server.server_port}", song,
                    env={"XDG_STATE_HOME": tmp_path})
    server.shutdown()
    server.server_close()
    assert said.strip() == "0" * 56
    assert [size for _, size in got] == [0, PIECE + 1]
