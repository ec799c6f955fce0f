#!/usr/bin/python3
"""What the queue costs as it grows: a real Redis, `serve` and `work` with a stand-in network.

    scale.py [--serve N] [--work N] [--waiting 100,10000,100000]   from the repository's root

First what N workers cost that have nothing to do: while nothing waits, and while jobs for another
model do. Then the queue is filled by POST /apiv2/jobs, and at each size 200 more posts and 50 times
/metrics are taken twice: while the workers are stopped, and while they do jobs. "submit" and
"/metrics" are what a client waits; "redis OPERATION" is Redis' own time for one step (SLOWLOG)
while the workers are at work. Prints two tables: median and 99th percentile in ms; Redis' memory
for each job and its processor time, user and system. All is on loopback, in a temporary folder.
"""

import argparse
import collections
import http.client
import multiprocessing
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402  (its folder was just added)

SAMPLES, SCRAPES, DONE = 200, 50, 200
IDLE_S, OTHERS = 10, 2000


def post_all(port, numbers, query=""):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=harness.DEADLINE_S)
    taken = []
    for number in numbers:
        song = harness.wav(0.02, tag=number)
        begin = time.monotonic()
        connection.request("POST", "/apiv2/jobs" + query, song, {"Content-Type": "audio/wav"})
        answer = connection.getresponse()
        body = answer.read()
        taken.append((time.monotonic() - begin) * 1000)
        assert answer.status == 202, body
    return taken


def told(times):
    ordered = sorted(times)
    return f"{statistics.median(ordered):.2f} / {ordered[int(len(ordered) * 0.99)]:.2f}"


def scrape_all(port):
    taken = []
    for _ in range(SCRAPES):
        begin = time.monotonic()
        harness.HTTP.get(f"http://127.0.0.1:{port}/metrics").raise_for_status()
        taken.append((time.monotonic() - begin) * 1000)
    return taken


def redis_times(client):
    """Milliseconds by operation: the first argument of the script. Of a save: the state, too."""
    times = collections.defaultdict(list)
    for entry in client.slowlog_get(100000):
        words = entry["command"].split(b" ")
        if words[0].upper() == b"EVALSHA":
            name = words[3] + (b" " + words[13] if words[3] == b"save" else b"")
            times["redis " + name.decode()].append(entry["duration"] / 1000)
    return times


def cpu_s(client):
    info = client.info("cpu")
    return info["used_cpu_user"] + info["used_cpu_sys"]


def jobs_done(client):
    return client.zcard("msaas:state:succeeded")


def print_table(head, rows):
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    print("| |" + "".join(f" {head.format(key)} |" for key in rows))
    print("|---|" + "---:|" * len(rows))
    for name in names:
        print(f"| {name} |" + "".join(f" {row.get(name, '')} |" for row in rows.values()))
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=int, default=4)
    parser.add_argument("--work", type=int, default=50)
    parser.add_argument("--waiting", default="100,10000,100000")
    options = parser.parse_args()
    sizes = [int(size) for size in options.waiting.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        redis = harness.Redis(folder / "redis").start()
        models = harness.make_models(folder / "models")
        subprocess.run([harness.MAKE_MODEL, "--tiny", "--name", "other", models], check=True)
        site = harness.Site(folder / "site", models, {
            "MSAAS_QUEUE": redis.url, "MSAAS_STORE": f"file:{folder}/objects"})
        ports = [harness.free_port() for _ in range(options.serve)]
        try:
            for port in ports:
                site.serve("--models", "tiny,other", "--max-waiting", max(sizes) * 2,
                           "--log-level", "warn", port=port)
            with redis.client() as client:
                client.config_set("appendfsync", "everysec")
                client.config_set("slowlog-max-len", 100000)
                workers = begin_work(site, client, options.work)
                print_table("{}", idle(client, ports[0], workers))
                print_table("{} waiting", measure(client, ports, sizes, workers))
        finally:
            site.stop()
            redis.kill()


def begin_work(site, client, count):
    """A long lease, so that the jobs of those that are stopped stay theirs."""
    workers = [site.work("--log-level", "warn", lease_s=3600) for _ in range(count)]
    harness.wait_for("workers", lambda: client.info("clients")["blocked_clients"] >= count)
    return workers


def signal_all(workers, number):
    for worker in workers:
        worker.signal(number)


def idle(client, port, workers):
    rows = {}
    for name, others in (("nothing waits", 0), (f"{OTHERS} wait for another model", OTHERS)):
        signal_all(workers, signal.SIGSTOP)
        post_all(port, [f"other {number}" for number in range(others)], "?model=other")
        signal_all(workers, signal.SIGCONT)
        client.config_resetstat()
        used, begin = cpu_s(client), time.monotonic()
        time.sleep(IDLE_S)
        each = len(workers) * (time.monotonic() - begin)
        rows[name] = {
            "Redis' CPU, ms a second and idle worker": f"{(cpu_s(client) - used) / each * 1e3:.2f}",
            "scripts a second and idle worker":
                f"{client.info('commandstats')['cmdstat_evalsha']['calls'] / each:.1f}",
        }
    signal_all(workers, signal.SIGSTOP)
    client.flushall()
    return rows


def measure(client, ports, sizes, workers):
    rows, number = {}, 0
    before = client.info("memory")["used_memory"]
    with multiprocessing.Pool(4 * len(ports)) as pool:
        for size in sizes:
            row = rows[size] = {}
            missing = size - client.llen("toWorker")
            client.config_set("slowlog-log-slower-than", -1)
            used, begin = cpu_s(client), time.monotonic()
            clients = 4 * len(ports)
            shares = [range(number + i, number + missing, clients) for i in range(clients)]
            pool.starmap(post_all, zip(4 * ports, shares))
            number += missing
            row["posts a second"] = f"{missing / (time.monotonic() - begin):.0f}"
            row["Redis' CPU, ms a post"] = f"{(cpu_s(client) - used) / missing * 1e3:.2f}"
            memory = client.info("memory")["used_memory"] - before
            row["Redis' memory, bytes a job"] = f"{memory / (size + jobs_done(client)):.0f}"
            for name in ("workers stopped", "workers at work"):
                if name == "workers at work":
                    client.config_set("slowlog-log-slower-than", 0)
                    client.config_resetstat()
                    done, used = jobs_done(client), cpu_s(client)
                    signal_all(workers, signal.SIGCONT)
                row[f"submit, {name}"] = told(
                    post_all(ports[0], range(number, number + SAMPLES)))
                number += SAMPLES
                row[f"/metrics, {name}"] = told(scrape_all(ports[0]))
            harness.wait_for("jobs to be done",
                             lambda done=done: jobs_done(client) >= done + DONE)
            signal_all(workers, signal.SIGSTOP)
            done = jobs_done(client) - done
            row["jobs done meanwhile"] = done
            row["Redis' CPU, ms a job done"] = f"{(cpu_s(client) - used) / done * 1e3:.2f}"
            scripts = client.info("commandstats")["cmdstat_evalsha"]["calls"]
            row["scripts a job done"] = f"{scripts / done:.0f}"
            row["load of the machine"] = f"{os.getloadavg()[0]:.1f}"
            row |= {name: told(times) for name, times in sorted(redis_times(client).items())}
            client.slowlog_reset()
    return rows


if __name__ == "__main__":
    main()
