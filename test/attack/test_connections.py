"""Connections by the thousand: from one address, slow to write, slow to read, beyond the
descriptors, and all of it at once beside the port of probes and metrics.

ATTACK_FULL=1: 4,200 connections of one address; 4,000 unread downloads, 4,000 readers of events and
500 stalled uploads beside 32 readers of the list, with the times of the admin port.
"""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import threading

import pytest
from harness import DEADLINE_S, HTTP, MSAAS, Process, wait_for, wav
from ports import free_port

FULL = bool(os.environ.get("ATTACK_FULL"))
ONE_ADDRESS = 4200 if FULL else 420
READERS = 4000 if FULL else 60
WRITERS = 500 if FULL else 30
PROBES = 300 if FULL else 100  # of the admin port under all floods
OF_ADDRESS = 1024 if FULL else 100
LIMITS = [] if FULL else ["--max-connections", 400, "--max-client-connections", OF_ADDRESS]
SONG_S = 20  # a stem as WAV: 3.5 MB, more than the kernel takes for a client
PROBE = """
import socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
took = {"/healthz": [], "/readyz": [], "/metrics": []}
for n in range(count):
    for path, times in took.items():
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), 60) as peer:
            peer.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n"
                         "Connection: close\\r\\n\\r\\n".encode())
            answer = b""
            while piece := peer.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200"), answer
        times.append(1e3 * (time.monotonic() - begun))
        time.sleep(0.002)
for path, times in took.items():
    times.sort()
    print(f"{path} 50 % {times[count // 2]:.1f}, 99 % {times[count * 99 // 100]:.1f}, "
          f"most {times[-1]:.1f} ms", end="; ")
"""


@pytest.fixture(autouse=True, scope="module")
def many_descriptors():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture
def site(make_embedded):
    made = make_embedded()
    made.admin = free_port()
    yield made
    made.stop()


@pytest.fixture
def held():
    """Connections that are open until the test ends."""
    with contextlib.ExitStack() as stack:
        yield stack


def dial(port, address=None):
    """address: of this machine, to come from."""
    peer = socket.create_connection(("127.0.0.1", port), DEADLINE_S, address and (address, 0))
    peer.settimeout(DEADLINE_S)
    return peer


def hold(stack, port, text, count, buffer=None):
    """So many connections that have said this and no more."""
    made = []
    for _ in range(count):
        peer = stack.enter_context(dial(port))
        if buffer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        with contextlib.suppress(ConnectionError):
            peer.sendall(text)
        made.append(peer)
    return made


def ask(port, path, address=None):
    with dial(port, address) as peer:
        answer = b""
        with contextlib.suppress(ConnectionError):
            peer.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
                         "Connection: close\r\n\r\n".encode())
            while piece := peer.recv(65536):
                answer += piece
        return int(answer.split()[1]) if answer else 0


def await_end(peers):
    """Until the server has closed each of them."""
    for peer in peers:
        with contextlib.suppress(ConnectionError):
            while peer.recv(1 << 20):
                pass


def gauge(site, name):
    text = HTTP.get(f"http://127.0.0.1:{site.admin}/metrics", timeout=DEADLINE_S).text
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(name))


HALF_HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Half: "
HALF_BODY = (b"POST /apiv2/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\n"
             b"Content-Length: 1000000\r\n\r\n" + wav(1))


def test_one_address_takes_only_its_own(site, held):
    site.serve("--admin-port", site.admin, *LIMITS)
    own = hold(held, site.port, HALF_HEAD, ONE_ADDRESS)
    assert len(own) == ONE_ADDRESS
    assert ask(site.port, "/healthz") == 429
    assert ask(site.port, "/healthz", "127.0.0.2") == 200
    assert ask(site.admin, "/healthz") == 200
    assert gauge(site, "msaas_http_connections") <= OF_ADDRESS + 2
    # Of the others the kernel itself may have dropped some.
    assert gauge(site, 'msaas_http_refused_total{limit="address"}') > (ONE_ADDRESS - OF_ADDRESS) / 2


def test_one_address_leaves_probes_their_port(site, held):
    site.serve("--admin-port", site.admin)
    hold(held, site.admin, HALF_HEAD, 20)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert ask(site.admin, path, "127.0.0.2") == 200


def test_idle_ones_give_way(site, held):
    """Nobody is locked out by connections on which nothing is asked."""
    site.serve("--admin-port", site.admin, *LIMITS)
    hold(held, site.port, b"", ONE_ADDRESS)
    for path in ("/healthz", "/readyz", "/apiv1/queue"):
        assert ask(site.port, path) == 200
        assert ask(site.port, path, "127.0.0.2") == 200


def separated(site):
    """A job with stems that are larger than what the kernel takes for a client."""
    worker = site.work()
    job = site.finished(site.submit(wav(SONG_S, tone=3), format="wav")["id"])
    worker.kill()
    return job


def requests_of(job):
    stem = job["stems"][0]["url"]
    path = stem[stem.index("/apiv2"):]
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def test_slow_ones_are_closed(site, held):
    site.serve("--admin-port", site.admin)
    job = separated(site)
    waiting = site.submit(wav(tone=4))["id"]
    events = held.enter_context(dial(site.port))
    events.sendall(f"GET /apiv2/jobs/{waiting}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert events.recv(1 << 16).startswith(b"HTTP/1.1 200")
    slow = hold(held, site.port, HALF_HEAD, 10)
    slow += hold(held, site.port, HALF_BODY, 10)
    unread = hold(held, site.port, requests_of(job), 10, buffer=4096)
    await_end(slow)  # they are answered 408
    wait_for("readers to be closed",
             lambda: gauge(site, "msaas_http_connections") <= 3 and True)
    for peer in unread:
        with contextlib.suppress(ConnectionError):
            size = 0
            while piece := peer.recv(1 << 20):
                size += len(piece)
            assert size < job["stems"][0]["bytes"]
    site.delete(f"/apiv2/jobs/{waiting}")
    told = b""
    while b'"erased":true' not in told:  # events are exempt: they have nothing to say
        piece = events.recv(1 << 16)
        assert piece, told
        told += piece


def test_few_descriptors(site, held):
    command = [MSAAS, "serve", "--host", "127.0.0.1", "--port", site.port,
               "--admin-port", site.admin]
    serve = Process(["bash", "-c", 'ulimit -n 256; exec "$@"', "-", *command],
                    site.folder / "serve.log", env=site.environment(), cwd=site.folder)
    serve.url = site.url
    site.processes.append(serve)
    site.wait_ready(serve)
    assert "limit of open files (ulimit -n) is 256" in serve.text()
    assert "--max-connections" in serve.text()
    bodies = hold(held, site.port, HALF_BODY, 150)  # each wants a file, too
    # An answer or an end (0), at once, instead of nothing for ever: the end may overtake the 503.
    assert ask(site.port, "/healthz") in (200, 503, 0)
    peers = bodies + hold(held, site.port, HALF_HEAD, 300)
    assert ask(site.port, "/healthz") in (503, 0)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert ask(site.admin, path) == 200
    assert "cannot accept" not in serve.text()
    for peer in peers:
        peer.close()
    wait_for("room again", lambda: ask(site.port, "/readyz") == 200)


def test_head_has_no_body(site):
    site.serve()
    for line in ("HEAD x HTTP/1.1", "HEAD / HTTP/3", "HEAD /\x01 HTTP/1.1",
                 "HEAD /nothing HTTP/1.1", f"HEAD /{'y' * 20_000} HTTP/1.1"):
        with dial(site.port) as peer:
            peer.sendall(f"{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while piece := peer.recv(65536):
                answer += piece
            assert answer.endswith(b"\r\n\r\n") and answer.count(b"\r\n\r\n") == 1, answer


def test_admin_answers_under_all_floods(site, held):
    serve = site.serve("--admin-port", site.admin, "--max-connections", 15000,
                       "--max-client-connections", 15000, "--min-rate", 0)
    job = separated(site)
    waiting = site.submit(wav(tone=4))["id"]
    events = f"GET /apiv2/jobs/{waiting}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    calm = probe(site)
    hold(held, site.port, requests_of(job), READERS, buffer=4096)
    hold(held, site.port, events, READERS)
    hold(held, site.port, HALF_BODY, WRITERS)
    hold(held, site.port, HALF_HEAD, ONE_ADDRESS)
    over = threading.Event()

    def read_list():
        while not over.is_set():
            with contextlib.suppress(OSError):
                ask(site.port, "/apiv1/queue")

    readers = [threading.Thread(target=read_list) for _ in range(32)]
    for reader in readers:
        reader.start()
    try:
        busy = probe(site)
    finally:
        over.set()
        for reader in readers:
            reader.join()
    print(f"\ncalm: {calm}\nunder all floods: {busy}; {serve.rss_kib() // 1024} MiB")


def probe(site):
    """Asks the admin port, each time on a new connection; every answer must be 200."""
    done = subprocess.run([sys.executable, "-c", PROBE, str(site.admin), str(PROBES)],
                          capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
