#!/usr/bin/python3
"""serve_load.py [--backend embedded|scaled|both] [--seconds N]: load on `msaas serve` alone.

Measures the songs taken per second from 8 clients at once (each song 200 KB, no two the same), the
99th percentile of /healthz while 500 connections idle or drip, and how memory grows over 10,000
requests. E2E_MSAAS and E2E_MAKE_MODEL name the programs.
"""

import argparse
import base64
import contextlib
import itertools
import json
import os
import pathlib
import resource
import socket
import sys
import tempfile
import threading
import time

TEST = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TEST / "e2e"), str(TEST / "tools")]
import harness  # noqa: E402
import radosgw  # noqa: E402

CLIENTS = 8
SONG_BYTES = 200_000
HANGING = 500
REQUESTS = 10_000
PROBES = 2_000


class Songs:
    """Bodies of POST /apiv1/separate. Only the first bytes of the Base64 differ."""

    def __init__(self, size=SONG_BYTES):
        song = harness.wav(size / 16000)
        self.head = song[:36] + b"junk"  # 40 bytes, then 4 of length, 16 of text
        self.rest = base64.b64encode(song[36:] + b"\0" * (-len(song[36:]) % 3))
        self.count = itertools.count()

    def body(self, number=None):
        number = next(self.count) if number is None else number
        front = self.head + (16).to_bytes(4, "little") + b"%016x" % number
        return b'{"mp3":"' + base64.b64encode(front) + self.rest + b'"}'


class Connection:
    """Keep-alive, without the cost of a library."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")

    def call(self, method, path, body=b""):
        head = (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n")
        self.socket.sendall(head.encode() + body)
        status = int(self.reader.readline().split()[1])
        length = 0
        while True:
            line = self.reader.readline()
            if line in (b"\r\n", b""):
                break
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self.reader.read(length)


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def measure_songs(site, seconds):
    songs, took, failures = Songs(), [], []
    end = time.monotonic() + seconds

    def client():
        connection = Connection(site.port)
        while time.monotonic() < end:
            body = songs.body()
            begun = time.monotonic()
            status, answer = connection.call("POST", "/apiv1/separate", body)
            took.append(time.monotonic() - begun)
            if status != 200:
                failures.append((status, answer))
                return

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - begun
    assert not failures, failures[0]
    waiting = site.get("/metrics").text
    assert f'msaas_jobs{{state="queued"}} {len(took)}' in waiting, "acknowledged songs are missing"
    return {"calls": len(took), "calls_per_s": round(len(took) / elapsed, 1),
            "p50_ms": round(1000 * percentile(took, 0.5), 1),
            "p99_ms": round(1000 * percentile(took, 0.99), 1)}


def measure_healthz(site):
    """Half of the connections say nothing, half a byte of a header now and then."""
    with contextlib.ExitStack() as stack:
        hanging = [stack.enter_context(socket.create_connection(("127.0.0.1", site.port), 60))
                   for _ in range(HANGING)]
        stop = threading.Event()

        def drip():
            text = b"GET /apiv1/queue HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"y" * 10_000
            for byte in text:
                for one in hanging[::2]:
                    with contextlib.suppress(OSError):
                        one.send(bytes([byte]))
                if stop.wait(0.2):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        connection, took = Connection(site.port), []
        for _ in range(PROBES):
            begun = time.monotonic()
            status, _ = connection.call("GET", "/healthz")
            took.append(time.monotonic() - begun)
            assert status == 200
            time.sleep(0.002)
        stop.set()
        dripping.join()
    return {"connections": HANGING, "p50_ms": round(1000 * percentile(took, 0.5), 2),
            "p99_ms": round(1000 * percentile(took, 0.99), 2)}


def measure_memory(site, serve):
    """After a first tenth, which fills what is kept for reuse."""
    body = Songs().body(0)
    calls = [("POST", "/apiv1/separate", body, 200), ("GET", "/apiv2/jobs?limit=20", b"", 200),
             ("GET", "/healthz", b"", 200),
             ("GET", "/apiv1/track/" + "0" * 56 + "/bass", b"", 404),
             ("POST", "/apiv1/separate", b'{"mp3": "?"}', 400)]

    def many(count):
        def client():
            connection = Connection(site.port)
            for number in range(count // CLIENTS):
                method, path, data, expected = calls[number % len(calls)]
                status, answer = connection.call(method, path, data)
                assert status == expected, (path, status, answer)

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    many(REQUESTS // 5)
    before = serve.rss_kib()
    many(REQUESTS)
    return {"requests": REQUESTS, "rss_before_mib": round(before / 1024, 1),
            "grown_mib": round((serve.rss_kib() - before) / 1024, 2)}


def measure(name, site, seconds):
    serve = site.serve()
    try:
        result = {"backend": name, "separate": measure_songs(site, seconds),
                  "healthz": measure_healthz(site), "memory": measure_memory(site, serve)}
        print(json.dumps(result), flush=True)
    finally:
        site.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", choices=["embedded", "scaled", "both"], default="both")
    parser.add_argument("--seconds", type=float, default=10)
    wanted = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))
    with tempfile.TemporaryDirectory(prefix="msaas-load-") as folder:
        folder = pathlib.Path(folder)
        models = harness.make_models(folder / "models")
        print(f"{os.cpu_count()} processors, {CLIENTS} clients, {SONG_BYTES} bytes a song, "
              f"{wanted.seconds} s", flush=True)
        if wanted.backend != "scaled":
            env = {"MSAAS_QUEUE": f"sqlite:{folder}/queue.db",
                   "MSAAS_STORE": f"file:{folder}/objects"}
            site = harness.Site(folder / "embedded", models, env)
            measure("sqlite + file", site, wanted.seconds)
        if wanted.backend != "embedded":
            with radosgw.Radosgw() as s3:
                redis = harness.Redis(folder / "redis").start()
                try:
                    env = {"MSAAS_QUEUE": redis.url, "MSAAS_STORE": "s3://",
                           "AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_REGION": s3.region,
                           "AWS_ACCESS_KEY_ID": s3.access_key,
                           "AWS_SECRET_ACCESS_KEY": s3.secret_key}
                    site = harness.Site(folder / "scaled", models, env)
                    measure("Redis + S3", site, wanted.seconds)
                finally:
                    redis.kill()


if __name__ == "__main__":
    main()
