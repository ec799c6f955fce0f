"""Faults: processes are killed, frozen and stopped at the worst moments, servers are lost under
load. Nothing acknowledged is lost, every result is whole, and it is published once.

With E2E_FULL=1 in the numbers that the service is held to (ctest -C Full -R e2e_faults_full), else
in small ones.
"""

import base64
import collections
import contextlib
import os
import random
import re
import signal
import sqlite3
import threading
import time

import boto3
import botocore.config
import pytest
import requests
from harness import DEADLINE_S, files_under, free_port, song_id, wait_for, wav

FULL = os.environ.get("E2E_FULL") == "1"
SEED = int(os.environ.get("E2E_SEED", random.SystemRandom().randrange(10**6)))
POINTS = [
    "after-claim", "mid-decode", "mid-inference", "between-uploads", "before-publish",
    "after-publish", "before-callback",
]
STEMS = ("bass", "drums", "other", "vocals")
TONES = (1, 2, 3)
LEASE_S = 3  # enough for a loaded machine to renew it: each lease that lapses counts as a crash
WAV = {"Content-Type": "audio/wav"}


def scaled_to(quick, full):
    return full if FULL else quick


def say(text):
    print(f"\n    {text}", flush=True)


class Load:
    """Songs for one site, who has acknowledged them, and what became of them."""

    def __init__(self, site, hook=None, seconds=1.0):
        self.site, self.hook, self.seconds = site, hook, seconds
        self.tone_of = {}  # acknowledged jobs
        self.seen = {}  # id: what its record said when it was first seen to have succeeded
        self.reference = {}
        self.random = random.Random(SEED)
        self.lock = threading.Lock()

    def song(self, number):
        return wav(self.seconds, TONES[number % len(TONES)], tag=number)

    def learn(self):
        """What the results have to be: those of workers whom nobody disturbs."""
        worker = self.site.work(lease_s=60)
        for tone in TONES:
            job = self.site.finished(self.site.separate(wav(self.seconds, tone)))
            self.reference[tone] = self.site.check_result(job)
            self.tone_of[job["id"]] = tone
        assert worker.terminate() == 0
        results = {frozenset(digests.values()) for digests in self.reference.values()}
        assert len(results) == len(TONES)

    def post(self, number):
        """Until it is acknowledged: what a client does whom a 503 or a lost connection meets."""
        song = self.song(number)
        callback = None
        if self.hook:
            callback = {"url": self.hook.url + "/" + song_id(song), "data": {"number": number}}
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                ident = self.site.separate(song, callback)
                break
            except requests.RequestException as error:
                failure = error
            except AssertionError as error:
                failure = error
                assert '"reason"' in str(error), error
            assert time.monotonic() < end, failure
            time.sleep(0.1)
        assert ident == song_id(song)
        with self.lock:
            self.tone_of[ident] = TONES[number % len(TONES)]

    def post_all(self, count, clients=4):
        numbers = iter(range(count))
        failures = []

        def client():
            try:
                while True:
                    with self.lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    self.post(number)
            except Exception as error:  # shown by the main thread
                failures.append(error)

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        return threads, failures

    def look(self):
        """The records of all jobs, by id. Notes which have succeeded: they must not change."""
        jobs, cursor = {}, ""
        while True:
            params = {"limit": 200} | ({"cursor": cursor} if cursor else {})
            answer = self.site.get("/apiv2/jobs", params=params)
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 503:
                raise requests.ConnectionError(answer.text)
            page = answer.json()
            jobs |= {job["id"]: job for job in page["jobs"]}
            cursor = page.get("next_cursor")
            if not cursor:
                break
        for ident, job in jobs.items():
            if job["state"] == "succeeded":
                stems = sorted((stem["name"], stem["sha256"]) for stem in job["stems"])
                what = (job["finished_at"], tuple(stems))
                assert self.seen.setdefault(ident, what) == what, f"{ident} was published twice"
            else:
                assert ident not in self.seen, f"{ident} has succeeded and now is {job['state']}"
        return jobs

    def unfinished(self):
        jobs = self.look()
        ended = ("succeeded", "failed")
        return [ident for ident in self.tone_of if jobs.get(ident, {}).get("state") not in ended]

    def endangered(self):
        """Jobs that may not crash again: the third time would make them `poison`, as it should."""
        return [
            job["id"] for job in self.look().values()
            if job["state"] in ("queued", "running") and job["attempts"] >= 2
        ]

    def check(self):
        """Nothing is lost, every result is whole and as in quiet times, nothing else lies about."""
        jobs = self.look()
        lost = [ident for ident in self.tone_of if ident not in jobs]
        failed = {
            ident: jobs[ident].get("error") for ident in self.tone_of
            if ident in jobs and jobs[ident]["state"] != "succeeded"
        }
        assert not lost and not failed, (len(lost), failed)
        for ident, tone in self.tone_of.items():
            digests = self.site.check_result(jobs[ident])
            if self.reference:
                assert digests == self.reference[tone], ident
        songs, stems = stored(self.site)
        assert sorted(songs) == sorted(self.tone_of)
        expected = [name for ident in self.tone_of for stem in STEMS
                    for name in (f"{ident}-{stem}.mp3", f"kept/{ident}-{stem}.flac")]
        expected += [f"kept/{ident}-peaks.json" for ident in self.tone_of]
        assert sorted(stems) == sorted(expected)
        done = collections.Counter(
            ident for process in self.site.processes
            for ident in re.findall(r"\bjob done job=([0-9a-f]{56})\b", process.text())
        )
        twice = [ident for ident, count in done.items() if count > 1]
        assert not twice, twice
        count = len(self.tone_of)
        return f"{count} jobs acknowledged, 0 lost, {count} whole, 0 published twice"


def stored(site):
    """The keys in both buckets, as they lie there."""
    if hasattr(site, "data"):
        return files_under(site.data / "objects/queue"), files_under(site.data / "objects/output")
    client = boto3.client(
        "s3", endpoint_url=site.s3.endpoint, aws_access_key_id=site.s3.access_key,
        aws_secret_access_key=site.s3.secret_key, region_name=site.s3.region,
        config=botocore.config.Config(s3={"addressing_style": "path"}, proxies={}),
    )

    def keys(bucket):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=site.prefix + bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    return keys("queue"), keys("output")


class Crew:
    """Workers that are replaced when they end."""

    def __init__(self, site, count=2, **options):
        self.site, self.options = site, options
        self.workers = [site.work(lease_s=LEASE_S, **options) for _ in range(count)]

    def replace(self, index):
        self.workers[index] = self.site.work(lease_s=LEASE_S, **self.options)

    def stop(self):
        for worker in self.workers:
            worker.kill()


def test_workers_killed(site, hook):
    rounds, random_kills = scaled_to(1, 8), scaled_to(4, 50)
    count = scaled_to(20, 300)
    load = Load(site, hook)
    site.env["MSAAS_CALLBACK_ALLOW"] = "127.0.0.1"
    site.serve()
    load.learn()
    threads, failures = load.post_all(count)
    for thread in threads:
        thread.join()
    assert not failures, failures

    crew = Crew(site, 1)
    plan = POINTS * rounds + ["random"] * random_kills
    load.random.shuffle(plan)
    killed = collections.Counter()
    extra = count
    for point in plan:
        # A job is made to crash once, and is over before the next kill: a third crash would rightly
        # end it.
        wait_for("no job in danger", lambda: not load.endangered())
        if len(load.unfinished()) < 6:  # there has to be something to do at the moment of death
            for _ in range(6):
                load.post(extra)
                extra += 1
        if point == "random":
            time.sleep(load.random.uniform(0, 0.5))
            if load.endangered():
                wait_for("no job in danger", lambda: not load.endangered())
            crew.workers[0].kill()
            crew.replace(0)
        else:
            victim = site.work(lease_s=LEASE_S, env={"MSAAS_FAULT": point})

            def died(victim=victim):
                if victim.running() and len(load.unfinished()) < 3:
                    nonlocal extra
                    load.post(extra)
                    extra += 1
                return not victim.running()

            wait_for(f"death at {point}", died, every_s=0.1)
            assert victim.wait() == -signal.SIGKILL, victim.text()
        killed[point] += 1
    wait_for("all jobs", lambda: not load.unfinished(), deadline_s=10 * DEADLINE_S, every_s=0.3)
    said = load.check()

    def all_called():
        paths = {path[1:] for path, _, _ in hook.got}
        return all(song_id(load.song(number)) in paths for number in range(extra))

    wait_for("all callbacks", all_called, every_s=0.3)
    calls = collections.Counter(path for path, _, _ in hook.got)
    say(f"workers killed by SIGKILL: {sum(killed.values())} times "
        f"({dict(sorted(killed.items()))}); {said}; "
        f"{extra} callbacks, {len(hook.got) - len(calls)} of them again")
    crew.stop()


def test_crashes_at_one_place_are_poison(site):
    site.serve()
    ident = site.separate(wav())
    for _ in range(8):  # three that got no farther than the one before
        worker = site.work(lease_s=LEASE_S, env={"MSAAS_FAULT": "mid-inference"})
        wait_for("its death or the job's end",
                 lambda worker=worker: not worker.running() or site.job(ident)["state"] == "failed")
        if worker.running():
            break
        assert worker.wait() == -signal.SIGKILL
    job = site.wait_state(ident, "failed", "succeeded")
    assert job["state"] == "failed" and job["error"]["code"] == "poison"
    site.work(lease_s=LEASE_S)
    site.finished(site.separate(wav(tone=2)))


def test_killed_worker_comes_back_and_goes_on_at_once(site):
    """Its lease lasts longer than any wait of this test: it is given back at the start."""
    site.serve()
    ident = site.separate(wav())
    worker = site.work(lease_s=4 * DEADLINE_S, env={"MSAAS_FAULT": "mid-inference"})
    assert worker.wait() == -signal.SIGKILL
    assert site.job(ident)["state"] == "running"
    killed = time.monotonic()
    worker = site.work(lease_s=4 * DEADLINE_S)
    job = wait_for("the job to be at work again",
                   lambda: next((job for job in [site.job(ident)] if job["attempts"] == 2), None))
    waited_s = time.monotonic() - killed
    say(f"a worker killed and started again: its job at work after {waited_s:.1f} s")
    assert site.finished(ident)["attempts"] == 2, job
    assert f"job={ident}" in worker.text()


def is_stopped(process):
    with open(f"/proc/{process.popen.pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"


def freeze(site, process):
    """Not while it writes to SQLite: it would hold the lock of all who write as long as it is
    frozen. So the lock is taken first."""
    with contextlib.ExitStack() as stack:
        if hasattr(site, "data"):
            file = site.data / "queue.db"
            queue = sqlite3.connect(file, timeout=DEADLINE_S, isolation_level=None)
            stack.enter_context(contextlib.closing(queue))
            queue.execute("BEGIN IMMEDIATE")
        process.signal(signal.SIGSTOP)
        wait_for("the worker to stop", lambda: is_stopped(process))


def test_frozen_worker_cannot_overwrite(site):
    """SIGSTOP for twice the lease, then SIGCONT: the job was somebody else's meanwhile."""
    rounds = scaled_to(1, 10)
    load = Load(site, seconds=1.0)
    site.serve()
    load.learn()
    refused = 0
    for number in range(rounds):
        sleeper = site.work(lease_s=LEASE_S)
        song = wav(60.0, TONES[0], tag=f"frozen {number}")  # seconds of work
        ident = site.separate(song)
        site.wait_state(ident, "running")
        freeze(site, sleeper)
        stopped = time.monotonic()
        assert site.job(ident)["state"] == "running"
        other = site.work(lease_s=LEASE_S)
        job = site.finished(ident)
        while time.monotonic() < stopped + 2 * LEASE_S:
            time.sleep(0.05)
        digests = site.check_result(job)
        before = [key for key in stored(site)[1] if not key.startswith("preview/")]  # those go
        assert other.terminate() == 0
        sleeper.signal(signal.SIGCONT)
        # It is fit for work again, and has left what it held alone.
        site.finished(site.separate(wav(1.0, TONES[1], tag=f"after {number}")))
        again = site.job(ident)
        assert again == job
        assert site.check_result(again) == digests
        assert set(before) <= set(stored(site)[1])
        assert f"job done job={ident}" not in sleeper.text(), sleeper.text()
        assert re.search(rf"job dropped.*{ident}", sleeper.text()), sleeper.text()
        refused += 1
        assert sleeper.terminate() == 0
    say(f"{refused} workers frozen for twice the lease and woken: {refused} stale results refused")


def test_redis_killed_under_load(make_scaled):
    kills, count = scaled_to(3, 20), scaled_to(30, 300)
    site = make_scaled()
    load = Load(site, seconds=1.0)
    site.serve()
    load.learn()
    crew = Crew(site, 2)
    done = 0
    posted = 0
    threads, failures = [], []
    try:
        for number in range(kills):
            share = count // kills
            numbers = range(posted, posted + share)
            posted += share

            def client(mine):
                try:
                    for each in mine:
                        load.post(each)
                except Exception as error:
                    failures.append(error)

            threads = [
                threading.Thread(target=client, args=(numbers[first::4],)) for first in range(4)
            ]
            for thread in threads:
                thread.start()
            time.sleep(load.random.uniform(0, 0.3))
            site.redis.kill()
            done += 1
            time.sleep(load.random.uniform(0, 0.5))
            site.redis.start()
            for thread in threads:
                thread.join()
            assert not failures, failures
        wait_for("all jobs", lambda: not load.unfinished(), deadline_s=10 * DEADLINE_S, every_s=0.3)
        assert all(worker.running() for worker in crew.workers)
        say(f"redis-server killed and restarted {done} times under load: {load.check()}")
    finally:
        site.stop()
        site.redis.kill()


def test_store_away_in_the_middle_of_a_job(make_scaled):
    away_s = scaled_to(2, 10)
    site = make_scaled()
    site.serve()
    site.work(lease_s=LEASE_S)
    try:
        ident = site.separate(wav(60.0))
        site.wait_state(ident, "running")
        site.s3.stop()
        begun = time.monotonic()
        try:
            assert site.get("/healthz").status_code == 200
            refused = None
            if FULL:
                refused = site.post("/apiv2/jobs", data=wav(tone=9), headers=WAV)
            while time.monotonic() < begun + away_s:
                time.sleep(0.05)
        finally:
            site.s3.start()
        job = site.finished(ident)
        site.check_result(job)
        if refused is not None and refused.status_code != 202:
            assert refused.status_code == 503 and int(refused.headers["Retry-After"]) > 0
        say(f"S3 server away for {away_s} s in the middle of a job: "
            f"succeeded after {job['attempts']} attempts")
    finally:
        site.stop()


def test_64_identical_posts_are_one_job(site, hook):
    site.serve()
    other = site.serve(port=free_port())
    song = wav(tone=4)
    answers, barrier = [], threading.Barrier(64)

    def post(number):
        url = other.url if number % 2 else site.url
        barrier.wait()
        if number % 4 < 2:
            answer = requests.post(
                url + "/apiv1/separate", json={"mp3": base64.b64encode(song).decode()},
                timeout=DEADLINE_S, proxies={"http": None},
            )
        else:
            answer = requests.post(
                url + "/apiv2/jobs", data=song, headers=WAV, timeout=DEADLINE_S,
                proxies={"http": None},
            )
        answers.append((answer.status_code, answer.json().get("hash") or answer.json().get("id")))

    threads = [threading.Thread(target=post, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 64 and {status for status, _ in answers} == {200, 202}, answers
    assert {ident for _, ident in answers} == {song_id(song)}
    assert site.get("/apiv1/queue").json() == {"queue": [song_id(song)]}
    assert len(site.get("/apiv2/jobs").json()["jobs"]) == 1
    worker = site.work()
    assert site.finished(song_id(song))["attempts"] == 1
    assert worker.terminate() == 0
    songs, stems = stored(site)
    assert songs == [song_id(song)] and len(stems) == 2 * len(STEMS) + 1
    say("64 identical POSTs at once to two servers: 1 job")


def test_sigterms(site):
    """At random moments, to workers and to serve: each ends well, and no job is harmed."""
    terms, count = scaled_to(5, 100), scaled_to(20, 300)
    load = Load(site, seconds=2.0)
    serve = site.serve()
    load.learn()
    crew = Crew(site, 2, grace_s=0.2)
    ended = collections.Counter()
    posted = 0
    for number in range(terms):
        share = count * (number + 1) // terms - posted
        numbers = range(posted, posted + share)
        posted += share
        failures = []

        def client(mine=numbers, failures=failures):
            try:
                for each in mine:
                    load.post(each)
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=client)
        thread.start()
        time.sleep(load.random.uniform(0, 0.7))
        if number % 10 == 4:
            assert serve.terminate() == 0
            serve = site.serve()
            ended["serve"] += 1
        else:
            index = load.random.randrange(len(crew.workers))
            status = crew.workers[index].terminate()
            # Before its handler stands a signal ends a process as signals do.
            assert status in (0, -signal.SIGTERM), crew.workers[index].text()
            crew.replace(index)
            ended["work"] += 1
        thread.join()
        assert not failures, failures
    wait_for("all jobs", lambda: not load.unfinished(), deadline_s=10 * DEADLINE_S, every_s=0.3)
    say(f"SIGTERM at random moments: {sum(ended.values())} ({dict(ended)}); {load.check()}")
    crew.stop()


@pytest.fixture(autouse=True, scope="module")
def tell():
    say(f"seed {SEED} (E2E_SEED), {'full' if FULL else 'quick'}")
    yield
