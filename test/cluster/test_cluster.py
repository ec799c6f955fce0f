#!/usr/bin/python3
"""test_cluster.py [NAME...]: the chart on a real cluster, whose KUBECONFIG is set. Called by
scripts/test-cluster, which has built the image and made the cluster. The tests run in their order
and build upon each other: install, then all that befalls a release, then uninstall. One line for
each, with what was measured; times are told, not judged.

Songs are separated by the real model where that is the point, else by a stand-in that takes its
time (--shifts) and hardly any processor.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import cluster
from cluster import (Failed, IMAGE, MIRROR, RELEASE, STAND_IN, Skipped, apply, clip, door, get,
                     kubectl, make_mirror, names, need, opens, pods, replicas, rolled_out, scale,
                     started, submit, upgrade, wait_for)
from manifests import local_dev, overlays
from upgrades import trial_stores_stayed, upgraded_from_the_last_release, upgraded_under_load

LIMIT_S = 15 * 60  # of about 8 minutes on two processors


# ---- the real model ----

def install():
    """helm install with the chart's defaults, and how long until it takes a job"""
    kubectl("create", "namespace", cluster.NAMESPACE)
    make_mirror()
    begun = time.monotonic()
    cluster.install(**IMAGE, **MIRROR)
    install.job = door().submit(clip(), format="wav", precision="float32")
    took_s = time.monotonic() - begun
    rolled_out("serve", "work", "logs", seconds=180)
    return f"first job accepted after {took_s:.1f} s (to reach: 30)"


def stems_are_right():
    """the real model's stems, through the Service, against the reference"""
    door().done(install.job, seconds=240)
    with tempfile.TemporaryDirectory() as folder:
        for stem in door().job(install.job)["stems"]:
            url = stem["url"].rpartition(".")[0] + ".wav?sample_type=float32&clip=none"
            pathlib.Path(folder, stem["name"] + ".wav").write_bytes(door().ask(url))
        said = cluster.run(sys.executable, cluster.GOLDEN / "reference.py", "compare", folder)
    return "; ".join(" ".join(line.split()[0:1] + line.split()[5:9]) for line in said.splitlines())


def through_an_ingress():
    """a song by way of the Ingress"""
    classes = names(get("ingressclasses")["items"])
    if not classes:
        raise Skipped("there is no controller of Ingresses")
    upgrade(**IMAGE, **MIRROR, ingress__enabled=True, ingress__className=classes[0])
    address = wait_for("an address of the Ingress", lambda: [
        where.get("ip") or where.get("hostname") for where in
        get("ingress", f"{RELEASE}-serve")["status"].get("loadBalancer", {}).get("ingress", [])])
    gate = cluster.Api(f"http://{address[0]}")
    wait_for("the way through the Ingress", gate.answers)
    gate.done(gate.submit(clip(), format="flac"))
    upgrade(**IMAGE, **MIRROR)
    return classes[0]


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
    door().done(submit(0))


def killed_by_force():
    """a worker's pod deleted by force: when its job is at work again"""
    job = submit(15)
    door().at_work(job)
    kubectl("delete", "pod", "--force", "--grace-period=0", names(pods("work"))[0])
    begun = time.monotonic()
    door().until(job, "to be at work again", lambda job: job["attempts"] == 2)
    took_s = time.monotonic() - begun
    door().done(job, attempts=2)
    return f"at work again after {took_s:.1f} s (to reach: 35)"


def deleted_in_peace():
    """a worker's pod deleted: it ends its job first"""
    job = submit(20)
    door().at_work(job)
    kubectl("delete", "pod", "--wait=false", names(pods("work"))[0])
    door().done(job)


def scaled():
    """scaled 1 -> 3 -> 1 in the middle of six jobs"""
    jobs = [submit(4) for _ in range(6)]
    door().at_work(jobs[0])
    scale("work", 3)
    wait_for("three workers", lambda: len(pods("work", ready=True)) == 3)
    scale("work", 1)
    door().done(*jobs)


def network_policies():
    """each path of the network policies, open or shut"""
    def ours(component):
        return {"app.kubernetes.io/name": "msaas", "app.kubernetes.io/instance": RELEASE,
                "app.kubernetes.io/component": component}

    # never Ready, lest the Service send clients to one that has the label of serve
    probe = {"readinessProbe": {"exec": {"command": ["false"]}}}
    ghosts = {"stranger": {}, "serve": ours("serve"), "work": ours("work"), "logs": ours("logs"),
              "redis": ours("redis"), "s3": ours("s3"), "test": ours("test"), "outside": {}}
    ends = {"redis": f"{RELEASE}-redis", "s3": f"{RELEASE}-s3", "serve": f"{RELEASE}-serve",
            "metrics": f"{RELEASE}-metrics",
            "work": pods("work", ready=True)[0]["status"]["podIP"]}
    ports = {"redis": 6379, "s3": 9000, "serve": 5000, "metrics": 5001, "work": 5001,
             "outside": 8000}
    may = {
        "stranger": {"serve", "metrics", "work", "outside"},
        "serve": {"redis", "s3"},
        "work": {"redis", "s3"},
        "logs": {"redis", "s3"},
        "redis": set(),
        "s3": set(),
        "test": {"serve"},
        "outside": {"serve", "metrics", "work"},
    }
    try:
        apply(*(cluster.pod(f"ghost-{name}", labels, container=probe,
                            command=["httpd", "-f", "-p", str(ports["outside"]), "-h", "/"])
                for name, labels in ghosts.items()))
        for name in ghosts:
            started(f"ghost-{name}")
        ends["outside"] = get("pod", "ghost-outside")["status"]["podIP"]
        # enforced from a moment after a pod's start on
        wait_for("the policies", lambda: not opens("ghost-stranger", ends["redis"], 6379))
        wait_for("the policies", lambda: opens("ghost-logs", ends["redis"], 6379))
        # Some networks put a policy's two directions into one list and so let pods of one kind
        # reach each other: that is not looked at.
        paths = [(ghost, end) for ghost in ghosts for end in ends
                 if ghost != end and (ghost, end) != ("serve", "metrics")]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda path: opens(f"ghost-{path[0]}", ends[path[1]],
                                                ports[path[1]]), paths)
        wrong = [f"{ghost} -> {end}: {'open' if is_open else 'shut'}"
                 for (ghost, end), is_open in zip(paths, found, strict=True)
                 if is_open != (end in may[ghost])]
    finally:
        kubectl("delete", "pod", "--ignore-not-found", *(f"ghost-{name}" for name in ghosts))
    need(not wrong, "; ".join(wrong))
    return f"{len(paths)} paths"


def evicted():
    """a PodDisruptionBudget holds: the second pod of serve at once is not evicted"""
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
    job = submit(20)
    door().at_work(job)
    kubectl("delete", "pod", "--wait=false", f"{RELEASE}-redis-0", f"{RELEASE}-s3-0")
    door().done(job, attempts=2)


def drained():
    """the node drained with jobs at work and waiting; room comes back while it is drained"""
    node = pods("work")[0]["spec"]["nodeName"]
    jobs = [submit(6) for _ in range(2)]
    door().at_work(jobs[0])
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
    door().done(*jobs, attempts=2)  # Redis was drained, too, and leases ended meanwhile
    after = {pod["metadata"]["uid"] for part in ("serve", "work", "redis", "s3")
             for pod in pods(part)}
    need(not before & after, "a pod is still the one from before")


def autoscaled_serve():
    """the HorizontalPodAutoscaler switched on and off in the middle of jobs, with three pods"""
    upgrade(**IMAGE, **STAND_IN, serve__replicas=3)
    rolled_out("serve")
    jobs = [submit(4) for _ in range(3)]
    door().at_work(jobs[0])
    uids = {pod["metadata"]["uid"] for pod in pods("serve")}
    upgrade(**IMAGE, **STAND_IN, serve__autoscaling__enabled=True)
    need(replicas("serve") == 3, f"{replicas('serve')} pods of serve instead of 3")
    need(uids == {pod["metadata"]["uid"] for pod in pods("serve")}, "pods were replaced")
    upgrade(**IMAGE, **STAND_IN, serve__autoscaling__enabled=True,
            serve__autoscaling__minReplicas=4)
    wait_for("the autoscaler", lambda: replicas("serve") == 4)
    cluster.helm("upgrade", cluster.CHART, {**IMAGE, **STAND_IN}, "--force-conflicts")
    rolled_out("serve")
    need(replicas("serve") == 2, f"{replicas('serve')} pods of serve instead of 2")
    door().done(*jobs)


def autoscaled_work():
    """KEDA switched on in the middle of jobs, from 0 to 3, rolled back, to 0, and off"""
    if not cluster.has_kind("scaledobjects.keda.sh"):
        raise Skipped("there is no KEDA")
    upgrade(**IMAGE, **STAND_IN, work__replicas=3)
    rolled_out("work")
    jobs = [submit(4) for _ in range(4)]
    door().at_work(jobs[0])
    keda = {"work__keda__enabled": True, "work__keda__maxReplicas": 3,
            "work__keda__cooldownSeconds": 10}
    upgrade(**IMAGE, **STAND_IN, **keda)
    need(replicas("work") == 3, f"{replicas('work')} workers instead of 3")
    door().done(*jobs)
    wait_for("no workers", lambda: replicas("work") == 0 and not pods("work"), 180)
    jobs = [submit(4) for _ in range(3)]
    accepted_s = time.monotonic()
    wait_for("the first worker", lambda: pods("work"))
    first_s = time.monotonic() - accepted_s
    wait_for("three workers", lambda: replicas("work") == 3)
    upgrade(**IMAGE, **STAND_IN, **keda, podDisruptionBudget__enabled=False)
    cluster.run(cluster.HELM, "-n", cluster.NAMESPACE, "rollback", RELEASE)
    need(replicas("work") == 3, f"{replicas('work')} workers instead of 3 after the rollback")
    door().done(*jobs)
    wait_for("no workers", lambda: replicas("work") == 0, 180)
    upgrade(**IMAGE, **STAND_IN)
    rolled_out("work")
    door().done(submit(0))
    return f"first pod {first_s:.1f} s after the jobs (to reach: 10)"


def uninstalled():
    """helm uninstall leaves the volumes of Redis and S3, and nothing else of ours"""
    cluster.run(cluster.HELM, "-n", cluster.NAMESPACE, "uninstall", RELEASE, "--wait")
    labels = f"app.kubernetes.io/instance={RELEASE}"
    # A worker with a job keeps it for its grace of 300 s.
    wait_for("no pods", lambda: not get("pods", "-l", labels)["items"], 360)
    kinds = "deploy,statefulset,service,configmap,secret,networkpolicy,hpa,pdb"
    left = [f"{item['kind']}/{item['metadata']['name']}" for item in
            get(kinds, "-l", labels)["items"]]
    need(not left, f"left: {', '.join(left)}")
    claims = {item["metadata"]["name"] for item in get("pvc")["items"]} - {"stand-in"}
    need(claims == {f"data-{RELEASE}-redis-0", f"data-{RELEASE}-s3-0"}, f"volumes: {claims}")


TESTS = [install, stems_are_right, through_an_ingress, helm_test, model_comes_from_the_store,
         stand_in, network_policies, killed_by_force, deleted_in_peace, evicted, scaled,
         backends_deleted, drained, upgraded_under_load, trial_stores_stayed, autoscaled_serve,
         autoscaled_work, uninstalled, upgraded_from_the_last_release, overlays, local_dev]


def show_state():
    for words in (("get", "pods", "-o", "wide"), ("get", "events", "--sort-by=.lastTimestamp"),
                  ("logs", "-l", f"app.kubernetes.io/instance={RELEASE}", "--tail=15", "--prefix",
                   "--all-containers")):
        print("\n".join(kubectl(*words, check=False)[1].splitlines()[-60:]))


def end(number, _):
    """Tests undo what they did to the cluster, a drained node among it."""
    raise SystemExit(f"FAILED: not done within {LIMIT_S // 60} minutes"
                     if number == signal.SIGALRM else "ended by a signal")


def main():
    wanted = set(sys.argv[1:])
    unknown = wanted - {test.__name__ for test in TESTS}
    if unknown:
        print(f"there is no test {', '.join(sorted(unknown))}")
        return 2
    signal.signal(signal.SIGALRM, end)
    signal.signal(signal.SIGTERM, end)
    signal.alarm(LIMIT_S)
    count = collections.Counter()
    for test in TESTS:
        if wanted and test.__name__ not in wanted:
            continue
        begun = time.monotonic()
        try:
            word, figures = "passed", test() or ""
        except Skipped as why:
            word, figures = "skipped", str(why)
            print(f"skipped: the cluster: {test.__name__}: {why}")
        except Exception as error:
            word = "FAILED"
            figures = str(error) if isinstance(error, Failed) else traceback.format_exc()
        count[word] += 1
        took_s = time.monotonic() - begun
        print(f"{word:7} {took_s:3.0f} s  {test.__doc__}{': ' if figures else ''}{figures}",
              flush=True)
        if word == "FAILED":
            show_state()
            if test is install:
                break
    print(", ".join(f"{count[word]} {word}" for word in ("passed", "FAILED", "skipped")),
          flush=True)
    return 1 if count["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
