#!/usr/bin/python3
"""What the queue costs as it grows: a real Redis, `serve` and `work` with a stand-in network.

    scale.py [--serve N] [--work N] [--waiting 100,10000,100000]   from the repository's root

Fills the queue by POST /apiv2/jobs, and at each size takes 200 more posts, 50 times /metrics, and
lets the workers do some jobs. "submit" and "metrics" are what a client waits; "redis OPERATION" is
Redis' own time for one step (SLOWLOG). Prints a table: median and 99th percentile in ms, Redis'
memory and processor time for each job. Everything is on loopback, in a temporary folder.
"""

import argparse
import collections
import http.client
import multiprocessing
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402  (its folder was just added)

SAMPLES, SCRAPES, DONE = 200, 50, 40


def post_all(port, numbers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=harness.DEADLINE_S)
    taken = []
    for number in numbers:
        song = harness.wav(0.02, tag=number)
        begin = time.monotonic()
        connection.request("POST", "/apiv2/jobs", song, {"Content-Type": "audio/wav"})
        answer = connection.getresponse()
        body = answer.read()
        taken.append((time.monotonic() - begin) * 1000)
        assert answer.status == 202, body
    return taken


def told(times):
    ordered = sorted(times)
    return f"{statistics.median(ordered):.2f} / {ordered[int(len(ordered) * 0.99)]:.2f}"


def redis_times(client):
    """Milliseconds by operation: the first argument of the script."""
    times = collections.defaultdict(list)
    for entry in client.slowlog_get(100000):
        words = entry["command"].split()
        if words[0].upper() == b"EVALSHA":
            times["redis " + words[3].decode()].append(entry["duration"] / 1000)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=int, default=2)
    parser.add_argument("--work", type=int, default=2)
    parser.add_argument("--waiting", default="100,10000,100000")
    options = parser.parse_args()
    sizes = [int(size) for size in options.waiting.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        redis = harness.Redis(folder / "redis").start()
        site = harness.Site(folder / "site", harness.make_models(folder / "models"), {
            "MSAAS_QUEUE": redis.url, "MSAAS_STORE": f"file:{folder}/objects"})
        ports = [harness.free_port() for _ in range(options.serve)]
        try:
            for port in ports:
                site.serve("--max-waiting", max(sizes) * 2, "--log-level", "warn", port=port)
            measure(site, redis, ports, sizes, options)
        finally:
            site.stop()
            redis.kill()


def measure(site, redis, ports, sizes, options):
    rows, number = {}, 0
    with redis.client() as client, multiprocessing.Pool(4 * len(ports)) as pool:
        client.config_set("appendfsync", "everysec")
        client.config_set("slowlog-max-len", 100000)
        before = client.info("memory")["used_memory"]
        for size in sizes:
            missing = size - client.llen("toWorker")
            client.config_set("slowlog-log-slower-than", -1)
            cpu, begin = client.info("cpu")["used_cpu_user"], time.monotonic()
            clients = 4 * len(ports)
            shares = [range(number + i, number + missing, clients) for i in range(clients)]
            pool.starmap(post_all, zip(4 * ports, shares))
            number += missing
            row = collections.OrderedDict()
            row["posts a second"] = f"{missing / (time.monotonic() - begin):.0f}"
            used = client.info("cpu")["used_cpu_user"] - cpu
            row["Redis' CPU, us a post"] = f"{used / missing * 1e6:.0f}"
            memory = client.info("memory")["used_memory"] - before
            row["Redis' memory, bytes a job"] = f"{memory / size:.0f}"
            client.slowlog_reset()
            client.config_set("slowlog-log-slower-than", 0)
            row["submit"] = told(post_all(ports[0], range(number, number + SAMPLES)))
            number += SAMPLES
            scrapes = []
            for _ in range(SCRAPES):
                begin = time.monotonic()
                harness.HTTP.get(f"http://127.0.0.1:{ports[0]}/metrics").raise_for_status()
                scrapes.append((time.monotonic() - begin) * 1000)
            row["/metrics"] = told(scrapes)
            waiting = client.llen("toWorker")
            workers = [site.work("--log-level", "warn") for _ in range(options.work)]
            harness.wait_for("jobs to be done",
                             lambda waiting=waiting: client.llen("toWorker") <= waiting - DONE)
            for worker in workers:
                worker.terminate()
            row |= {name: told(times) for name, times in sorted(redis_times(client).items())}
            rows[size] = row
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    print("| |" + "".join(f" {size} waiting |" for size in sizes))
    print("|---|" + "---:|" * len(sizes))
    for name in names:
        print(f"| {name} |" + "".join(f" {rows[size].get(name, '')} |" for size in sizes))


if __name__ == "__main__":
    main()
