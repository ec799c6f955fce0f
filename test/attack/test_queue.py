"""Many jobs wait, many clients read the list of them, Redis is restarted, strangers take from the
list.

ATTACK_FULL=1: 100,000 jobs and 32 readers for 20 s, with the times of /readyz.
"""

import os
import statistics
import threading
import time

import pytest
from harness import DEADLINE_S, HTTP, wait_for, wav

FULL = bool(os.environ.get("ATTACK_FULL"))
JOBS = 100_000 if FULL else 20_000
READERS = 32
READ_S = 20 if FULL else 3

# Copies of a waiting job, with other ids, behind it.
COPY_JOB = """
for n = ARGV[2], ARGV[3] do
    local id = string.format('%056x', n)
    redis.call('COPY', KEYS[1], 'msaas:job:' .. id)
    local doc = redis.call('HGET', KEYS[1], 'doc')
    redis.call('HSET', 'msaas:job:' .. id, 'doc', (doc:gsub(ARGV[1], id)))
    redis.call('LPUSH', 'toWorker', id)
    for _, set in ipairs({'msaas:jobs', 'msaas:state:queued'}) do
        redis.call('ZADD', set, redis.call('ZSCORE', set, ARGV[1]) + n, id)
    end
end"""


def fill(site, count):
    """So many jobs wait; their ids, next to be served first."""
    first = site.submit(wav())["id"]
    with site.redis.client() as client:
        for begin in range(1, count, 1000):
            client.eval(COPY_JOB, 1, f"msaas:job:{first}", first, begin,
                        min(begin + 999, count - 1))
    return [first] + [f"{n:056x}" for n in range(1, count)]


@pytest.fixture
def long_queue(make_site, make_redis, tmp_path):
    redis = make_redis()
    site = make_site({"MSAAS_QUEUE": redis.url, "MSAAS_STORE": f"file:{tmp_path}/objects"})
    site.redis = redis
    site.server = site.serve()
    yield site
    site.stop()
    redis.kill()


def command_calls(site, name):
    with site.redis.client() as client:
        return client.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0)


class Readers:
    """Threads that call a path again and again, for some seconds."""

    def __init__(self, url, count, seconds, check):
        self.answers, self.wrong = 0, []
        self.end = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.read, args=(url, check))
                        for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def read(self, url, check):
        import requests

        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < self.end:
                answer = session.get(url, timeout=DEADLINE_S)
                fault = check(answer)
                with self.lock:
                    self.answers += 1
                    if fault:
                        self.wrong.append(fault)

    def running(self):
        return any(thread.is_alive() for thread in self.threads)

    def join(self):
        for thread in self.threads:
            thread.join()


def measure_ready(site, readers):
    times = []
    while readers.running():
        begin = time.monotonic()
        assert HTTP.get(site.url + "/readyz", timeout=DEADLINE_S).status_code == 200
        times.append(time.monotonic() - begin)
        time.sleep(0.02)
    return times


def tell_times(what, times):
    times = sorted(times)
    print(f"{what}: {len(times)} calls, median {statistics.median(times) * 1000:.0f} ms, "
          f"99th of 100 {times[int(len(times) * 0.99)] * 1000:.0f} ms, "
          f"longest {times[-1] * 1000:.0f} ms")


def test_the_list_is_read_once_a_second_for_all(long_queue):
    site = long_queue
    ids = fill(site, JOBS)
    assert site.get("/apiv1/queue").json() == {"queue": ids}
    size = len(site.get("/apiv1/queue").content)
    rss_kib = site.server.rss_kib()
    before, begin = command_calls(site, "lrange"), time.monotonic()
    readers = Readers(site.url + "/apiv1/queue", READERS, READ_S,
                      lambda answer: None if len(answer.content) == size else
                      f"{answer.status_code}, {len(answer.content)} bytes")
    times = measure_ready(site, readers)
    readers.join()
    took_s = time.monotonic() - begin
    pages = -(-JOBS // 10_000) + 1
    readings = (command_calls(site, "lrange") - before) / pages
    print(f"\n{JOBS} jobs wait, {READERS} readers, {took_s:.1f} s: {readers.answers} lists of "
          f"{size} bytes, read {readings:.1f} times from Redis; "
          f"serve grew by {site.server.rss_kib() - rss_kib} KiB")
    tell_times("/readyz", times)
    assert readers.wrong == []
    assert readings <= took_s + 2


def test_slow_readers_share_the_list(long_queue):
    """Who takes nothing of the answer holds no list of his own."""
    import socket

    site = long_queue
    ids = fill(site, JOBS)
    assert site.get("/apiv1/queue").json() == {"queue": ids}
    size = len(site.get("/apiv1/queue").content)
    rss_kib = site.server.rss_kib()
    idle = []
    for _ in range(READERS * 4):
        connection = socket.create_connection(("127.0.0.1", site.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /apiv1/queue HTTP/1.1\r\nHost: localhost\r\n\r\n")
        idle.append(connection)
    for connection in idle:
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    grown_kib = site.server.rss_kib() - rss_kib
    print(f"\n{len(idle)} clients that read nothing of {size} bytes: serve grew by {grown_kib} KiB")
    assert grown_kib * 1024 < len(idle) * size / 4
    for connection in idle:
        connection.close()
    assert site.get("/apiv1/queue").json() == {"queue": ids}


def test_a_restart_of_redis_costs_no_call(long_queue):
    """All pooled connections die at once."""
    site = long_queue
    ids = fill(site, 10)
    readers = Readers(site.url + f"/apiv2/jobs/{ids[0]}", READERS, 1, lambda answer: None)
    readers.join()  # as many connections as the pool will ever have
    site.redis.kill()
    site.redis.start()
    readers = Readers(site.url + f"/apiv2/jobs/{ids[0]}", READERS, 1,
                      lambda answer: None if answer.status_code == 200 else answer.text)
    readers.join()
    print(f"\nafter a restart of Redis: {readers.answers} calls, {len(readers.wrong)} failed")
    assert readers.wrong == []
