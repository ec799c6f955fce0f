#!/usr/bin/python3
"""test_cluster.py [NAME...]: the chart on a real cluster, whose KUBECONFIG is set. Called by
scripts/test-cluster, which has built the image and made the cluster. The tests run in their order
and build upon each other: install, then all that befalls a release, then uninstall. One line for
each, with what was measured.

Songs are separated by the real model where that is the point, else by a stand-in that takes its
time (--shifts) and hardly any processor.
"""

import concurrent.futures
import contextlib
import io
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import wave

import cluster
from cluster import (Failed, RELEASE, apply, get, kubectl, names, need, opens, pods,
                     replicas, rolled_out, scale, started, upgrade, wait_for)

GOLDEN = cluster.ROOT / "test" / "golden"
# the chart's own, unless another name is given
IMAGE = {"image__repository": os.environ["MSAAS_IMAGE"]} if os.environ.get("MSAAS_IMAGE") else {}
MIRROR = {"model__url": "http://mirror:8000/htdemucs.onnx"}
STAND_IN = {"model__source": "claim", "model__existingClaim": "stand-in"}
LIMIT_S = 12 * 60
seeds = iter(range(int(time.time()), 10**10))  # no job of an earlier run
api = None
song = None


def make_song(seconds):
    """Noise, as WAV."""
    target = io.BytesIO()
    with wave.open(target, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(44100)
        out.writeframes(random.Random(1).randbytes(4 * 44100 * seconds))
    return target.getvalue()


def submit(shifts):
    """A job of its own, that takes about so long."""
    return api.submit(song, seed=next(seeds), shifts=shifts)


# ---- the real model ----

def install():
    """helm install with the chart's defaults, and how long until it takes a job"""
    global api
    kubectl("create", "namespace", cluster.NAMESPACE)
    make_mirror()
    begun = time.monotonic()
    cluster.install(**IMAGE, **MIRROR)
    api = cluster.door()
    install.job = api.submit(clip(), format="wav", precision="float32")
    took_s = time.monotonic() - begun
    need(took_s <= 30, f"{took_s:.0f} s")
    rolled_out("serve", "work", "logs", seconds=180)
    return f"first job accepted after {took_s:.1f} s"


def clip():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "clip.wav")
        subprocess.run([sys.executable, GOLDEN / "clip.py", path], check=True)
        return path.read_bytes()


def make_mirror():
    """A pod that serves the published weights where the publisher cannot be reached."""
    source = pathlib.Path(os.environ["MSAAS_WEIGHTS"])
    labels = {"app": "mirror"}
    apply(cluster.pod("mirror", labels, ["sh", "-c", "mkdir /tmp/w; httpd -f -v -p 8000 -h /tmp/w"],
                      container={"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]},
                      volumes=[{"name": "tmp", "emptyDir": {}}]),
          {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "mirror"},
           "spec": {"selector": labels, "ports": [{"port": 8000}]}})
    started("mirror")
    cluster.copy(source, "mirror", f"/tmp/w/{source.name}")


def stems_are_right():
    """the real model's stems, through the Service, against the reference"""
    api.done(install.job, seconds=240)
    with tempfile.TemporaryDirectory() as folder:
        for stem in api.job(install.job)["stems"]:
            url = stem["url"].rpartition(".")[0] + ".wav?sample_type=float32&clip=none"
            pathlib.Path(folder, stem["name"] + ".wav").write_bytes(api.ask(url))
        said = cluster.run(sys.executable, GOLDEN / "reference.py", "compare", folder)
    return "; ".join(" ".join(line.split()[0:1] + line.split()[5:9]) for line in said.splitlines())


def helm_test():
    """helm test"""
    cluster.run(cluster.HELM, "-n", cluster.NAMESPACE, "test", RELEASE)


def model_comes_from_the_store():
    """a second worker has the model from the store; the publisher was asked once"""
    asked = kubectl("logs", "mirror").count("response:200")
    kubectl("delete", "pod", "mirror")
    scale("work", 2)
    wait_for("two workers", lambda: len(pods("work", ready=True)) == 2)
    need(asked == 1, f"the publisher was asked {asked} times")


# ---- the stand-in ----

def stand_in():
    """the model of the tests that follow, in a volume"""
    apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "stand-in"},
           "spec": {"accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "10Mi"}}}},
          cluster.pod("loader", container={"volumeMounts": [{"name": "m", "mountPath": "/m"}]},
                      volumes=[{"name": "m", "persistentVolumeClaim": {"claimName": "stand-in"}}]))
    started("loader")
    for path in pathlib.Path(os.environ["MSAAS_STAND_IN"]).iterdir():
        cluster.copy(path, "loader", f"/m/{path.name}")
    kubectl("delete", "pod", "loader")
    upgrade(**IMAGE, **STAND_IN)
    rolled_out("serve", "work", "logs")
    api.done(submit(0))


def killed_by_force():
    """a worker's pod deleted by force: when its job is at work again"""
    job = submit(15)
    api.at_work(job)
    kubectl("delete", "pod", "--force", "--grace-period=0", names(pods("work"))[0])
    begun = time.monotonic()
    api.until(job, "to be at work again", lambda job: job["attempts"] == 2)
    took_s = time.monotonic() - begun
    api.done(job, attempts=2)
    need(took_s <= 35, f"{took_s:.0f} s")
    return f"at work again after {took_s:.1f} s"


def deleted_in_peace():
    """a worker's pod deleted: it ends its job first"""
    job = submit(10)
    api.at_work(job)
    kubectl("delete", "pod", "--wait=false", names(pods("work"))[0])
    api.done(job)


def scaled():
    """scaled 1 -> 3 -> 1 in the middle of six jobs"""
    jobs = [submit(4) for _ in range(6)]
    api.at_work(jobs[0])
    scale("work", 3)
    wait_for("three workers", lambda: len(pods("work", ready=True)) == 3)
    scale("work", 1)
    api.done(*jobs)


def network_policies():
    """each path of the network policies, open or shut"""
    def ours(component):
        return {"app.kubernetes.io/name": "msaas", "app.kubernetes.io/instance": RELEASE,
                "app.kubernetes.io/component": component}

    # never Ready, lest the Service send clients to one that has the label of serve
    probe = {"readinessProbe": {"exec": {"command": ["false"]}}}
    ghosts = {"stranger": {}, "serve": ours("serve"), "work": ours("work"), "logs": ours("logs"),
              "test": ours("test")}
    ends = {"redis": f"{RELEASE}-redis", "s3": f"{RELEASE}-s3", "serve": f"{RELEASE}-serve",
            "metrics": f"{RELEASE}-metrics",
            "work": pods("work", ready=True)[0]["status"]["podIP"]}
    ports = {"redis": 6379, "s3": 9000, "serve": 5000, "metrics": 5001, "work": 5001}
    may = {
        "stranger": {"serve", "metrics", "work"},
        "serve": {"redis", "s3"},
        "work": {"redis", "s3"},
        "logs": {"redis", "s3"},
        "test": {"serve"},
    }
    apply(*(cluster.pod(f"ghost-{name}", labels, container=probe)
            for name, labels in ghosts.items()))
    for name in ghosts:
        started(f"ghost-{name}")
    # enforced from a moment after a pod's start on
    wait_for("the policies", lambda: not opens("ghost-stranger", ends["redis"], 6379))
    wait_for("the policies", lambda: opens("ghost-logs", ends["redis"], 6379))
    wrong = []
    checked = 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        # Some networks put a policy's two directions into one list and so let pods of one kind
        # reach each other: that is not looked at.
        paths = [(ghost, end) for ghost in ghosts for end in ends
                 if ghost != end and (ghost, end) != ("serve", "metrics")]
        for (ghost, end), found in zip(paths, pool.map(
                lambda path: opens(f"ghost-{path[0]}", ends[path[1]], ports[path[1]]), paths),
                                       strict=True):
            checked += 1
            if found != (end in may[ghost]):
                wrong.append(f"{ghost} -> {end}: {'open' if found else 'shut'}")
    kubectl("delete", "pod", *(f"ghost-{name}" for name in ghosts))
    need(not wrong, "; ".join(wrong))
    return f"{checked} paths"


def evicted():
    """a PodDisruptionBudget holds: the second worker at once is not evicted"""
    scale("serve", 2)
    wait_for("two pods of serve", lambda: len(pods("serve", ready=True)) == 2)
    first, second = names(pods("serve", ready=True))[:2]
    need(evict(first)[0] == 0, "the first one was not evicted")
    status, text = evict(second)
    need(status != 0 and "disruption budget" in text, f"the second one was evicted: {text}")
    rolled_out("serve")


def evict(name):
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"name": name, "namespace": cluster.NAMESPACE}}
    return cluster.run(cluster.KUBECTL, "create", "--raw",
                       f"/api/v1/namespaces/{cluster.NAMESPACE}/pods/{name}/eviction", "-f", "-",
                       stdin=json.dumps(eviction).encode(), check=False)


def backends_deleted():
    """Redis and S3 deleted together in the middle of a job"""
    job = submit(12)
    api.at_work(job)
    kubectl("delete", "pod", "--wait=false", f"{RELEASE}-redis-0", f"{RELEASE}-s3-0")
    api.done(job, attempts=2)


def drained():
    """the node drained with jobs at work and waiting; room comes back while it is drained"""
    node = pods("work")[0]["spec"]["nodeName"]
    jobs = [submit(6) for _ in range(2)]
    api.at_work(jobs[0])
    before = {name for part in ("serve", "work", "redis", "s3") for name in
              (pod["metadata"]["uid"] for pod in pods(part))}
    drain = subprocess.Popen(
        [cluster.KUBECTL, "drain", node, "--delete-emptydir-data", "--ignore-daemonsets",
         "--force", f"--pod-selector=app.kubernetes.io/instance={RELEASE}", "--timeout=150s"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_for("pods that find no node", lambda: any(
            pod["status"].get("phase") == "Pending" for pod in pods("serve")), 60)
    finally:
        kubectl("uncordon", node)
    _, said = drain.communicate(timeout=180)
    need(drain.returncode == 0, said.decode())
    rolled_out("serve", "work")
    api.done(*jobs, attempts=2)  # Redis was drained, too, and leases ended meanwhile
    after = {pod["metadata"]["uid"] for part in ("serve", "work", "redis", "s3")
             for pod in pods(part)}
    need(not before & after, "a pod is still the one from before")


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
            api.ask("/apiv2/jobs?limit=1")
        except Exception as error:
            self.failed.append(repr(error))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()
        self.pool.shutdown()


def upgraded_under_load():
    """helm upgrade with jobs waiting and 50 requests a second: none fails, no job begins twice"""
    jobs = [submit(3) for _ in range(4)]
    api.at_work(jobs[0])
    with Load(50) as load:
        upgrade(**IMAGE, **STAND_IN, podAnnotations={"round": str(time.time())})
        rolled_out("serve", "work", "logs", seconds=180)
    need(not load.failed, f"{len(load.failed)} of {load.asked} requests failed: {load.failed[:3]}")
    api.done(*jobs)
    return f"{load.asked} requests"


def trial_stores_stayed():
    """that upgrade left the trial Redis and S3 alone"""
    upgrade(**IMAGE, **STAND_IN)
    rolled_out("serve", "work")
    uids = [get("pod", f"{RELEASE}-{name}-0")["metadata"]["uid"] for name in ("redis", "s3")]
    upgrade(**IMAGE, **STAND_IN, podAnnotations={"a": "b"}, podLabels={"c": "d"})
    rolled_out("serve", "work")
    need(uids == [get("pod", f"{RELEASE}-{name}-0")["metadata"]["uid"]
                  for name in ("redis", "s3")], "they were restarted")


def autoscaled_serve():
    """the HorizontalPodAutoscaler switched on and off with three pods of serve"""
    upgrade(**IMAGE, **STAND_IN, serve__replicas=3)
    rolled_out("serve")
    uids = {pod["metadata"]["uid"] for pod in pods("serve")}
    upgrade(**IMAGE, **STAND_IN, serve__autoscaling__enabled=True)
    need(replicas("serve") == 3, f"{replicas('serve')} pods of serve instead of 3")
    need(uids == {pod["metadata"]["uid"] for pod in pods("serve")}, "pods were replaced")
    wait_for("the autoscaler", lambda: get("hpa", f"{RELEASE}-serve")["status"].get(
        "currentReplicas") == 3)
    upgrade(**IMAGE, **STAND_IN, serve__replicas=2)
    rolled_out("serve")
    need(replicas("serve") == 2, f"{replicas('serve')} pods of serve instead of 2")


def autoscaled_work():
    """KEDA switched on in the middle of jobs, from 0 to 3 and back to 0, and off"""
    if cluster.run(cluster.KUBECTL, "get", "crd", "scaledobjects.keda.sh", check=False)[0] != 0:
        return "skipped: there is no KEDA"
    upgrade(**IMAGE, **STAND_IN, work__replicas=3)
    rolled_out("work")
    jobs = [submit(4) for _ in range(4)]
    api.at_work(jobs[0])
    keda = {"work__keda__enabled": True, "work__keda__maxReplicas": 3,
            "work__keda__cooldownSeconds": 10}
    upgrade(**IMAGE, **STAND_IN, **keda)
    need(replicas("work") == 3, f"{replicas('work')} workers instead of 3")
    api.done(*jobs)
    wait_for("no workers", lambda: replicas("work") == 0 and not pods("work"), 180)
    begun = time.monotonic()
    jobs = [submit(4) for _ in range(3)]
    accepted_s = time.monotonic()
    wait_for("the first worker", lambda: pods("work"))
    first_s = time.monotonic() - accepted_s
    wait_for("three workers", lambda: replicas("work") == 3)
    api.done(*jobs)
    wait_for("no workers", lambda: replicas("work") == 0, 180)
    upgrade(**IMAGE, **STAND_IN)
    rolled_out("work")
    api.done(submit(0))
    need(first_s <= 10, f"the first worker came after {first_s:.1f} s")
    return f"first pod {first_s:.1f} s after the jobs ({accepted_s - begun:.1f} s to send them)"


def uninstalled():
    """helm uninstall leaves the volumes of Redis and S3, and nothing else of ours"""
    cluster.run(cluster.HELM, "-n", cluster.NAMESPACE, "uninstall", RELEASE, "--wait")
    labels = f"app.kubernetes.io/instance={RELEASE}"
    wait_for("no pods", lambda: not get("pods", "-l", labels)["items"])
    kinds = "deploy,statefulset,service,configmap,secret,networkpolicy,hpa,pdb"
    left = [f"{item['kind']}/{item['metadata']['name']}" for item in
            get(kinds, "-l", labels)["items"]]
    need(not left, f"left: {', '.join(left)}")
    claims = {item["metadata"]["name"] for item in get("pvc")["items"]} - {"stand-in"}
    need(claims == {f"data-{RELEASE}-redis-0", f"data-{RELEASE}-s3-0"}, f"volumes: {claims}")


# ---- without Helm ----

def overlays():
    """kubectl apply -k of each overlay: serve is ready and takes a job"""
    there = {item["metadata"]["name"] for item in get("namespaces")["items"]}
    need(not there & {"msaas", "minio-ns"}, "the namespaces msaas and minio-ns are in use here")
    try:
        make_surroundings()
        for overlay in ("local", "gke"):
            apply_overlay(overlay)
    finally:
        kubectl("delete", "namespace", "msaas", "minio-ns", "--ignore-not-found",
                "--timeout=120s")


def make_surroundings():
    """What the overlays expect: a store elsewhere, and on GKE a kind of Google's."""
    kubectl("create", "namespace", "minio-ns")
    kubectl("apply", "-f", "deploy/local-dev.yaml", namespace="minio-ns")
    apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "myminio-proj"},
           "spec": {"selector": {"app": "s3"}, "ports": [{"port": 9000}]}},
          namespace="minio-ns")
    kubectl("rollout", "status", "statefulset/s3", "--timeout=120s", namespace="minio-ns")
    open_schema = {"openAPIV3Schema": {"type": "object",
                                       "x-kubernetes-preserve-unknown-fields": True}}
    apply({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
           "metadata": {"name": "backendconfigs.cloud.google.com"},
           "spec": {"group": "cloud.google.com", "scope": "Namespaced",
                    "names": {"kind": "BackendConfig", "plural": "backendconfigs"},
                    "versions": [{"name": "v1", "served": True, "storage": True,
                                  "schema": open_schema}]}})
    kubectl("wait", "--for=condition=Established",
            "crd/backendconfigs.cloud.google.com", "--timeout=60s")


def apply_overlay(overlay):
    if overlay == "gke":  # its Secret is made by hand
        kubectl("create", "namespace", "msaas")
        kubectl("create", "secret", "generic", "msaas-secret",
                "--from-literal=AWS_ACCESS_KEY_ID=rootuser",
                "--from-literal=AWS_SECRET_ACCESS_KEY=rootpass123", namespace="msaas")
    cluster.run(cluster.KUBECTL, "apply", "-k", f"deploy/overlays/{overlay}")
    kubectl("rollout", "status", "deploy/msaas-serve", "--timeout=120s", namespace="msaas")
    service = get("service", "msaas-serve", namespace="msaas")
    cluster.Api(service).submit(song)
    kubectl("delete", "namespace", "msaas", "--timeout=120s")


def local_dev():
    """scripts/deploy-local-dev, its ports and --stop"""
    env = {**os.environ, "PATH": f"{pathlib.Path(cluster.KUBECTL).parent}:{os.environ['PATH']}"}
    script = cluster.ROOT / "scripts" / "deploy-local-dev"
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([script, "--namespace", "msaas-dev-trial"], env=env,
                                   stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True)

        def answers(port):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2):
                return True
            need(process.poll() is None, "it ended: " + said())
            return False

        def said():
            output.seek(0)
            return output.read().decode()
        try:
            for port in (6379, 9000):
                wait_for(f"port {port}", lambda: answers(port))
            need(b"PONG" in ping(), "Redis does not answer")
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(30)
    subprocess.run([script, "--stop", "--namespace", "msaas-dev-trial"], env=env, check=True,
                   stdout=subprocess.DEVNULL, timeout=120)
    need("msaas-dev-trial" not in [n["metadata"]["name"] for n in get("namespaces")["items"]
                                   if n["status"]["phase"] == "Active"], "the namespace is left")


def ping():
    with socket.create_connection(("127.0.0.1", 6379), 10) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100)


TESTS = [install, stems_are_right, helm_test, model_comes_from_the_store, stand_in,
         network_policies, killed_by_force, deleted_in_peace, evicted, scaled, backends_deleted,
         drained, upgraded_under_load, trial_stores_stayed, autoscaled_serve, autoscaled_work,
         uninstalled, overlays, local_dev]


def show_state():
    for words in (("get", "pods", "-o", "wide"), ("get", "events", "--sort-by=.lastTimestamp"),
                  ("logs", "-l", f"app.kubernetes.io/instance={RELEASE}", "--tail=15", "--prefix",
                   "--all-containers")):
        print("\n".join(kubectl(*words, check=False)[1].splitlines()[-60:]))


def out_of_time():
    print(f"FAILED: not done within {LIMIT_S // 60} minutes", flush=True)
    os._exit(1)


def main():
    global api, song
    song = make_song(20)
    wanted = set(sys.argv[1:])
    unknown = wanted - {test.__name__ for test in TESTS}
    if unknown:
        print(f"there is no test {', '.join(sorted(unknown))}")
        return 2
    watchdog = threading.Timer(LIMIT_S, out_of_time)
    watchdog.daemon = True
    watchdog.start()
    passed = failed = 0
    if wanted and "install" not in wanted:
        api = cluster.door()
    for test in TESTS:
        if wanted and test.__name__ not in wanted:
            continue
        begun = time.monotonic()
        try:
            figures = test() or ""
            word, passed = "passed", passed + 1
        except Exception as error:
            word, failed = "FAILED", failed + 1
            figures = str(error) if isinstance(error, Failed) else traceback.format_exc()
        took_s = time.monotonic() - begun
        print(f"{word} {took_s:4.0f} s  {test.__doc__}{': ' if figures else ''}{figures}",
              flush=True)
        if word == "FAILED":
            show_state()
            if test is install:
                break
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
