"""Clients that ask for stems and events and read nothing, and clients that begin uploads and send
no more.

ATTACK_FULL=1: 4,000 unread downloads with 4,000 unread streams of events, on each pair of backends,
and 500 stalled uploads; with the memory of serve and the time of an upload beside them.
"""

import contextlib
import hashlib
import os
import pathlib
import re
import resource
import socket
import time

import pytest
from harness import DEADLINE_S, wait_for, wav

FULL = bool(os.environ.get("ATTACK_FULL"))
READERS = 4000 if FULL else 200  # of each kind
UPLOADS = 500 if FULL else 50
MIB = 1 << 20
STEM_BYTES = 10_000_000
# What 8,000 connections may take, for fewer of them; the allocator's own share is not in it.
MOST_GROWN = 256 * MIB * 2 * READERS // 8000 + 8 * MIB
# In the kernel, for each that asked for a stem; other programs' sockets are in it.
MOST_KEPT = READERS * 130_000 + 8 * MIB
UPLOAD_BYTES = 50_000_000

if FULL:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def ask(port, path):
    """A client that asks and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE_S)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return client


def status(client):
    """Of the answer, which stays unread. Waits for it."""
    return int(client.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL).split()[1])


def rss(server):
    return server.rss_kib() * 1024


def kernel():
    """What TCP keeps for all sockets of this machine, at both ends. A pod's limit counts it."""
    text = pathlib.Path("/proc/net/sockstat").read_text()
    return int(re.search(r"^TCP: .* mem (\d+)", text, re.MULTILINE)[1]) * resource.getpagesize()


def still(value):
    """Waits until value() does not change any more, for half a second."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.1)
        if (now := value()) != last:
            last, since = now, time.monotonic()
    return last


def connections(site):
    page = site.get("/metrics").text
    return int(next(line.split()[1] for line in page.splitlines()
                    if line.startswith("msaas_http_connections ")))


@pytest.fixture
def quiet(site):
    """A site with a finished job, whose stems have 10 MB, and one that waits for ever."""
    site.server = site.serve("--max-connections", 3 * READERS, "--max-client-connections",
                             3 * READERS, "--min-rate", 0)
    worker = site.work()
    site.done = site.finished(site.submit(wav(STEM_BYTES / 4 / 44100), format="wav")["id"])
    worker.terminate()
    assert all(stem["bytes"] >= STEM_BYTES for stem in site.done["stems"])
    site.waiting = site.submit(wav(tag="waits"))["id"]
    return site


def test_unread_answers_cost_little_memory_and_give_it_back(quiet):
    stem = f"/apiv2/jobs/{quiet.done['id']}/stems/{quiet.done['stems'][0]['name']}.wav"
    events = f"/apiv2/jobs/{quiet.waiting}/events"
    for path in (stem, events):  # as warm as it will be
        with ask(quiet.port, path) as client:
            assert status(client) == 200
    before, kernel_before = rss(quiet.server), kernel()
    with contextlib.ExitStack() as stack:
        wanted = [stem, events] * READERS
        while wanted:  # who waited too long for a thread gets 503, and asks again
            clients = [(path, stack.enter_context(ask(quiet.port, path))) for path in wanted]
            heard = {client: status(client) for _, client in clients}
            assert set(heard.values()) <= {200, 503}
            wanted = [path for path, client in clients if heard[client] == 503]
        full = still(lambda: rss(quiet.server))
        # What other programs send meanwhile comes and goes, and what these hold stays.
        wait_for("the kernel to keep little", lambda: kernel() - kernel_before < MOST_KEPT)
        kept = kernel() - kernel_before
        # Nobody else waits for them, neither for the store nor for the queue.
        content = quiet.get(stem).content
        assert hashlib.sha256(content).hexdigest() == quiet.done["stems"][0]["sha256"]
        assert quiet.get("/readyz").status_code == 200
    print(f"\n{2 * READERS} readers: {before / MIB:.0f} MiB -> {full / MIB:.0f} MiB, "
          f"and {kept / MIB:.0f} MiB in the kernel")
    wait_for("the server to see that they are gone", lambda: connections(quiet) <= 8)
    assert full - before < MOST_GROWN
    wait_for("memory to go back", lambda: rss(quiet.server) < before + 32 * MIB)
    print(f"gone: {still(lambda: rss(quiet.server)) / MIB:.0f} MiB")


def begin_upload(port, sent, size):
    client = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
    client.sendall(b"POST /apiv2/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: audio/wav\r\n"
                   b"Content-Length: %d\r\n\r\n" % size)
    client.sendall(bytes(sent))
    return client


def timed_upload(site, tag):
    song = wav(UPLOAD_BYTES / 16000, tag=tag)
    begun = time.monotonic()
    site.submit(song)
    return time.monotonic() - begun


def test_stalled_uploads_hold_up_nobody(make_embedded):
    site = make_embedded()
    server = site.serve("--min-rate", 0)
    idle_s = min(timed_upload(site, n) for n in range(3))
    before = rss(server)
    with contextlib.ExitStack() as stack:
        # Three that fill what all bodies together once had, and many that have sent something.
        for size in [200_000_000] * 3 + [MIB] * UPLOADS:
            stack.enter_context(begin_upload(site.port, size, 250_000_000))
        beside_s = min(timed_upload(site, 10 + n) for n in range(3))
        grown = still(lambda: rss(server)) - before
        print(f"\na new upload of 50 MB: {idle_s:.2f} s alone, {beside_s:.2f} s beside "
              f"{UPLOADS + 3} stalled ones, which cost {grown / MIB:.0f} MiB")
        assert grown < 64 * MIB
    site.stop()
