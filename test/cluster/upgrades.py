"""Upgrades under load: of the chart's values, and from the last release."""

import concurrent.futures
import os
import threading
import time

import cluster
from cluster import (IMAGE, RELEASE, STAND_IN, Skipped, door, get, kubectl, need, pods, rolled_out,
                     submit, upgrade, wait_for)

LAST_CHART, LAST_TAG = os.environ.get("MSAAS_LAST_CHART"), "last"
# Stores of their own, as those have who upgrade: what the chart brings is for trials, and changes.
OUTSIDE = {"queue__url": "redis://redis:6379/0", "store__endpoint": "http://s3:9000",
           "secret__accessKey": "rootuser", "secret__secretKey": "rootpass123"}


class Load:
    """Requests at a steady rate; what failed."""

    def __init__(self, rate):
        self.rate, self.asked, self.failed, self.ending = rate, 0, [], threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(rate)
        self.thread = threading.Thread(target=self.send)

    def send(self):
        next_s = time.monotonic()
        while not self.ending.is_set():
            self.asked += 1
            self.pool.submit(self.ask)
            next_s += 1 / self.rate
            self.ending.wait(max(0, next_s - time.monotonic()))

    def ask(self):
        try:
            door().ask("/apiv2/jobs?limit=1")
        except Exception as error:
            self.failed.append(repr(error))

    def __enter__(self):
        self.begun = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()
        self.pool.shutdown()
        self.seconds = time.monotonic() - self.begun

    def judged(self):
        need(not self.failed, f"{len(self.failed)} of {self.asked} failed: {self.failed[:3]}")
        return f"{self.asked} requests, {self.asked / self.seconds:.0f} a second, none failed"


def upgraded_under_load():
    """helm upgrade with jobs waiting and 50 requests a second: none fails, no job begins twice"""
    jobs = [submit(3) for _ in range(4)]
    door().at_work(jobs[0])
    with Load(50) as load:
        upgrade(**IMAGE, **STAND_IN, podAnnotations={"round": str(time.time())})
        rolled_out("serve", "work", "logs", seconds=180)
    figures = load.judged()
    door().done(*jobs)
    return figures


def trial_stores_stayed():
    """that upgrade left the trial Redis and S3 alone"""
    upgrade(**IMAGE, **STAND_IN)
    rolled_out("serve", "work")
    uids = [get("pod", f"{RELEASE}-{name}-0")["metadata"]["uid"] for name in ("redis", "s3")]
    upgrade(**IMAGE, **STAND_IN, podAnnotations={"a": "b"}, podLabels={"c": "d"})
    rolled_out("serve", "work")
    need(uids == [get("pod", f"{RELEASE}-{name}-0")["metadata"]["uid"]
                  for name in ("redis", "s3")], "they were restarted")


def upgraded_from_the_last_release():
    """from the last release, jobs waiting, 50 requests a second, workers of both side by side"""
    if not LAST_CHART:
        raise Skipped("there is no image of the last release")
    kubectl("apply", "-f", "deploy/local-dev.yaml")
    for store in ("redis", "s3"):
        kubectl("rollout", "status", f"statefulset/{store}", "--timeout=120s")
    cluster.install(chart=LAST_CHART, image__tag=LAST_TAG, work__replicas=2,
                    work__resources={"requests": {"cpu": "100m"}}, **OUTSIDE, **STAND_IN)
    rolled_out("serve", "work", "logs")
    jobs = [submit(5) for _ in range(6)]
    for job in jobs[:2]:
        door().at_work(job)
    with Load(50) as load:
        upgrade(work__replicas=2, **IMAGE, **OUTSIDE, **STAND_IN)
        wait_for("workers of both releases", lambda: len(worker_images()) == 2)
        rolled_out("serve", "work", "logs", seconds=180)
    figures = load.judged()
    door().done(*jobs)
    cluster.run(cluster.HELM, "-n", cluster.NAMESPACE, "uninstall", RELEASE, "--wait")
    kubectl("delete", "-f", "deploy/local-dev.yaml")
    return figures


def worker_images():
    """Of the workers that work, also of those that end after their job."""
    return {pod["spec"]["containers"][0]["image"]
            for pod in pods("work", ready=True, ending=True)}
