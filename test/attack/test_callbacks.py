"""Callbacks that an attacker chose: URLs that mean the inside, and receivers that never end. Only
loopback is ever connected to: what else must be refused is judged as a function
(test/unit/test_webhook.c)."""

import asyncio
import contextlib
import json
import os
import re
import socket
import sqlite3
import threading
import time

import pytest
from harness import Hook, wait_for, wav

FULL = bool(os.environ.get("ATTACK_FULL"))
PER_JOB = 8  # callbacks that one job takes

# Hosts that mean loopback to whoever lets them pass. None needs a name server.
SPELLINGS = """
127.0.0.1 localhost LOCALHOST LocalHost 127.1 127.0.1 127.000.000.001 127.0.0.01
2130706433 0x7f000001 0x7F000001 0x7f.0.0.1 0x7f.0x0.0x0.0x1 0x7f.1 0x7f.0.1 0X7F.1
0177.0.0.1 0177.0.0.01 0177.1 017700000001 00177.0.0.1 0177.0x0.0.1 127.0x1 127.0.0x0.0x01
0x0000007f.1 00000000177.1 127.0.0.2 127.1.2.3 127.255.255.254 127.65537 2130706434 127.0.256
[::1] [0:0:0:0:0:0:0:1] [::0001] [0::1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0.0.0.1]
[::ffff:127.0.0.1] [::FFFF:127.0.0.1] [::ffff:7f00:1] [::ffff:7f00:0001]
[0:0:0:0:0:ffff:127.0.0.1] [0:0:0:0:0:ffff:7f00:1] [::ffff:127.0.0.2]
127%2e0%2e0%2e1 %31%32%37.0.0.1 loc%61lhost user@127.0.0.1 user:1.1.1.1@127.0.0.1
127.0.0.1\\@127.0.0.2
""".split()


def say(text):
    print("\n" + text, flush=True)


class Listener:
    """Keeps which paths were POSTed to a port of those loopback addresses."""

    ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.1.2.3", "127.0.1.0", "127.1.0.1",
                 "127.255.255.254", "::1")

    def __init__(self):
        self.heard = set()
        self.sockets = [socket.create_server((self.ADDRESSES[0], 0))]
        self.port = self.sockets[0].getsockname()[1]
        for address in self.ADDRESSES[1:]:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self.sockets.append(socket.create_server((address, self.port), family=family))
        for listener in self.sockets:
            threading.Thread(target=self.run, args=(listener,), daemon=True).start()

    def run(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    request = b""
                    while b"null" not in request and b"{" not in request:
                        got = connection.recv(65536)
                        if not got:
                            break
                        request += got
                    self.heard |= set(re.findall(rb"POST \S*/(\w+) ", request))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                except OSError:
                    pass

    def close(self):
        for listener in self.sockets:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


class Tricklers:
    """Receivers that take a request and answer a byte in half a second, for ever. Each is a host of
    its own, an address of loopback; one_host: all are ports of one."""

    def __init__(self, count, one_host=False):
        self.urls, self.begun, self.ended, self.tasks = [], [], [], []
        self.one_host = one_host
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self.open(count), self.loop).result()

    async def open(self, count):
        for number in range(count):
            last = 0 if self.one_host else number
            server = await asyncio.start_server(
                lambda reader, writer, number=number: self.trickle(number, reader, writer),
                f"127.1.{last // 250}.{last % 250 + 1}", 0)
            self.urls.append("http://%s:%d/" % server.sockets[0].getsockname())

    async def trickle(self, number, reader, writer):
        self.begun.append(number)
        self.tasks.append(asyncio.current_task())
        sending = asyncio.create_task(self.send(writer))
        try:
            while await reader.read(65536):  # sees at once that the client goes
                pass
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.ended.append(number)
            sending.cancel()
            writer.close()

    @staticmethod
    async def send(writer):
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.5)

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def close(self):
        asyncio.run_coroutine_threadsafe(self.end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)


def due(site):
    return float(re.search(r"^msaas_callbacks_due (\S+)", site.get("/metrics").text, re.M)[1])


def enqueue(site, version, song, urls):
    """One job with all these callbacks; each is accepted."""
    for url in urls:
        if version == 1:
            ident = site.separate(song, {"url": url})
        else:
            ident = site.submit(song, callback_url=url)["id"]
    return ident


@pytest.mark.parametrize("version", [1, 2])
def test_no_spelling_reaches_loopback(make_embedded, version):
    site = make_embedded()
    site.serve()
    reached = {}
    for allow in ("", "127.0.0.0/8,::1"):
        listener = Listener()
        worker = site.work(env={"MSAAS_CALLBACK_ALLOW": allow})
        try:
            for first in range(0, len(SPELLINGS), PER_JOB):
                song = wav(tag=f"{version} {allow} {first}")
                urls = [f"http://{host}:{listener.port}/n{first + n}"
                        for n, host in enumerate(SPELLINGS[first:first + PER_JOB])]
                urls = [url for url in urls if taken(site, version, song, url)]
                if urls:
                    site.finished(site.submit(song)["id"])
            wait_for("all to be called or refused", lambda: due(site) == 0)
        finally:
            listener.close()
            worker.kill()
        reached[allow] = len(listener.heard)
    say(f"/apiv{version}: {reached['']} of {len(SPELLINGS)} spellings reach loopback; "
        f"{reached['127.0.0.0/8,::1']} when it is allowed")
    assert reached[""] == 0
    assert reached["127.0.0.0/8,::1"] > len(SPELLINGS) / 2  # else the spellings prove nothing
    site.stop()


def taken(site, version, song, url):
    """Whether the URL is accepted; some are malformed for the service itself."""
    try:
        enqueue(site, version, song, [url])
        return True
    except AssertionError as error:
        assert "invalid_callback" in str(error) or "the callback's URL" in str(error), error
        return False


def test_tricklers_delay_their_own_only(site):
    count = 300 if FULL else 48
    tricklers, hook = Tricklers(count), Hook()
    site.env["MSAAS_CALLBACK_ALLOW"] = "127.0.0.0/8"
    site.serve()
    try:
        worker = site.work()
        for first in range(0, count, PER_JOB - 1):
            # The last one of each job waits for none of those before it.
            song = wav(tag=f"slow {first}")
            urls = [*tricklers.urls[first:first + PER_JOB - 1], f"{hook.url}/same-{first}"]
            site.finished(enqueue(site, 1, song, urls))
        wait_for("the tricklers to be called", lambda: len(set(tricklers.begun)) >= min(count, 48))
        job = site.finished(enqueue(site, 2, wav(tag="good"), [hook.url + "/good"]))
        began_s = time.monotonic()
        wait_for("the good one", lambda: any(path == "/good" for path, _, _ in hook.got))
        waited_s = time.monotonic() - began_s
        ended = len(set(tricklers.ended))  # some of them have been called again since
        wait_for("the last of each job",
                 lambda: sum(path.startswith("/same") for path, _, _ in hook.got)
                 >= -(-count // (PER_JOB - 1)))
        say(f"{count} receivers that trickle: the callback of another job came after "
            f"{waited_s:.2f} s; {ended} of them had ended by then")
        assert job["state"] == "succeeded"
        if not FULL:  # fewer than are delivered side by side
            assert ended < count
        worker.kill()
    finally:
        tricklers.close()
        hook.close()


def test_a_host_with_many_ports_is_one_host(site):
    count = 64  # as many as are delivered side by side
    tricklers, hook = Tricklers(count, one_host=True), Hook()
    site.env["MSAAS_CALLBACK_ALLOW"] = "127.0.0.0/8"
    site.serve()
    try:
        for first in range(0, count, PER_JOB):
            enqueue(site, 1, wav(tag=f"ports {first}"), tricklers.urls[first:first + PER_JOB])
        worker = site.work()
        job = site.finished(enqueue(site, 2, wav(tag="good"), [hook.url + "/good"]))
        wait_for("the good one", lambda: any(path == "/good" for path, _, _ in hook.got))
        at_once = len(tricklers.begun) - len(tricklers.ended)
        say(f"one host with {count} ports that trickle: {at_once} called at the same time")
        assert job["state"] == "succeeded"
        assert at_once <= 1
        worker.kill()
    finally:
        tricklers.close()
        hook.close()


def test_a_full_outbox_of_a_dead_host_delays_its_own_only(make_embedded):
    """Records made in the file itself, all due before the good one."""
    count = 10000 if FULL else 300
    site, tricklers, hook = make_embedded(), Tricklers(1), Hook()
    site.env["MSAAS_CALLBACK_ALLOW"] = "127.0.0.0/8"
    site.serve()
    try:
        first = site.work()
        ident = enqueue(site, 1, wav(tag="dead"), tricklers.urls)
        site.finished(ident)
        first.kill()
        with sqlite3.connect(site.data / "queue.db", timeout=60) as db:
            columns = [row[1] for row in db.execute("PRAGMA table_info(jobs)")]
            row = dict(zip(columns, db.execute("SELECT * FROM jobs WHERE id = ?",
                                               (ident,)).fetchone()))
            for number in range(count):
                copy = row | {"id": f"{number:056x}", "due": number + 1}
                doc = json.loads(row["doc"].replace(ident, copy["id"]))
                if number % 3 == 0:
                    doc = {"unreadable": True}
                else:
                    doc["callback"]["due_ms"] = number + 1
                copy["doc"] = json.dumps(doc)
                db.execute(f"INSERT INTO jobs ({', '.join(columns)}) VALUES "
                           f"({', '.join('?' * len(columns))})", [copy[c] for c in columns])
        site.work()
        site.finished(enqueue(site, 1, wav(tag="good"), [hook.url]))
        began_s = time.monotonic()
        wait_for("the good one", lambda: hook.got)
        say(f"{count} records before it, for a dead host or unreadable: "
            f"{time.monotonic() - began_s:.2f} s after its job's end")
        wait_for("the unreadable ones to go",
                 lambda: due(site) <= count - -(-count // 3) + 1)
    finally:
        site.stop()
        tricklers.close()
        hook.close()
