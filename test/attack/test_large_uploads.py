"""Uploads of any size and number cost serve no memory: one of 4 GiB (a part of it in the short
form), hundreds that break off, and dozens that never send what they said."""

import contextlib
import os
import time

import harness
import ports
from harness import HTTP, wait_for
from test_uploads import PIECE, TUS, Raw, create, make_job, offset

FULL = bool(os.environ.get("ATTACK_FULL"))
BYTES = 4 << 30 if FULL else 160 << 20
MORE_KIB = 64 << 10  # of memory
MANY = 1000 if FULL else 40


def peak_kib(process):
    status = open(f"/proc/{process.popen.pid}/status", encoding="ascii").read()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_flat_memory(site):
    serve = site.serve("--max-song-mb", 8000)
    small, _ = create(site, 4)
    HTTP.patch(site.url + small, data=b"RIFF", headers=TUS | {
        "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"})
    before = peak_kib(serve)
    head = harness.wav()
    path, _ = create(site, BYTES)
    begun = time.monotonic()
    raw = Raw(site, path, 0, BYTES)
    raw.send(head)
    left = BYTES - len(head)
    block = bytes(1 << 20)
    while left > 0:
        raw.send(block[:left])
        left -= min(left, len(block))
    assert " 204 " in raw.answer()
    sent_s = time.monotonic() - begun
    assert offset(site, path) == BYTES
    print(f"\n{BYTES >> 20} MiB: sent at {BYTES / sent_s / 1e6:.0f} MB/s; memory {before >> 10} "
          f"MiB before, at most {peak_kib(serve) >> 10} meanwhile")
    if not (FULL and hasattr(site, "s3")):  # which keeps 8 GiB, in memory
        begun = time.monotonic()
        job = make_job(site, path)
        assert job["input"]["bytes"] == BYTES
        print(f"made a job of in {time.monotonic() - begun:.1f} s, {peak_kib(serve) >> 10} MiB")
        site.delete(f"/apiv2/jobs/{job['id']}")
    assert peak_kib(serve) - before < MORE_KIB
    assert HTTP.delete(site.url + path, headers=TUS).status_code == 204


def scratch_files(process):
    """How many it has open: they have no name any more."""
    folder = f"/proc/{process.popen.pid}/fd"
    count = 0
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"{folder}/{name}").endswith("(deleted)")
    return count


def connections(port):
    text = HTTP.get(f"http://127.0.0.1:{port}/metrics", timeout=harness.DEADLINE_S).text
    return sum(float(line.split()[1]) for line in text.splitlines()
               if line.startswith("msaas_http_connections "))


def test_those_that_break_off(site):
    """No file and no connection of them stays open, and others are served meanwhile."""
    admin = ports.free_port()
    serve = site.serve("--admin-port", admin)
    path, _ = create(site, 10 * PIECE)
    at = 0
    for number in range(MANY):
        raw = Raw(site, path, at, PIECE)
        raw.send(b"x" * (number % 7))
        raw.close()
        if number % 7:
            wait_for("its bytes", lambda at=at, more=number % 7: offset(site, path) == at + more)
            at += number % 7
    assert site.get("/healthz").status_code == 200
    wait_for("no file to be left", lambda: scratch_files(serve) == 0)
    # The pool of HTTP keeps one, metrics have another.
    wait_for("no connection to be left", lambda: connections(admin) <= 2)


def test_those_that_never_send(site):
    """They hold no thread: an upload beside them goes on."""
    site.serve("--max-client-connections", 4000)
    waiting = []
    for _ in range(MANY):
        path, _ = create(site, 10)
        waiting.append(Raw(site, path, 0, 10))
    song = harness.wav()
    path, _ = create(site, len(song), body=song)
    assert make_job(site, path)["id"] == harness.song_id(song)
    for raw in waiting:
        raw.close()
