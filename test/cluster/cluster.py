"""What the tests of the cluster share: kubectl, helm, the API through a node's port, pods of our
own. Every wait is for a condition and has an end.
"""

import functools
import hashlib
import io
import itertools
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import wave

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "test" / "golden"
CHART = ROOT / "charts" / "msaas"
HELM, KUBECTL = os.environ["HELM"], os.environ["KUBECTL"]
NAMESPACE, RELEASE = "msaas-trial", "msaas"
WAIT_S = 120
BUSYBOX = "busybox:1.36"
# the chart's own, unless another name is given
IMAGE = {"image__repository": os.environ["MSAAS_IMAGE"]} if os.environ.get("MSAAS_IMAGE") else {}
MIRROR = {"model__url": "http://mirror:8000/htdemucs.onnx"}
STAND_IN = {"model__source": "claim", "model__existingClaim": "stand-in"}


class Failed(Exception):
    """A test's verdict."""


class Skipped(Exception):
    """Why a test does nothing here."""


def need(condition, text):
    if not condition:
        raise Failed(text)


def run(*command, check=True, stdin=None, timeout=300):
    result = subprocess.run([str(word) for word in command], input=stdin, capture_output=True,
                            check=False, timeout=timeout, cwd=ROOT)
    output = result.stdout.decode("utf-8", "replace")
    if check and result.returncode != 0:
        raise Failed(f"{' '.join(map(str, command[:8]))}: {output}\n{result.stderr.decode()}")
    return output if check else (result.returncode, output + result.stderr.decode())


def kubectl(*words, namespace=NAMESPACE, **options):
    return run(KUBECTL, "-n", namespace, *words, **options)


def get(*words, namespace=NAMESPACE):
    return json.loads(kubectl("get", *words, "-o", "json", namespace=namespace))


def apply(*documents, namespace=NAMESPACE):
    lists = {"apiVersion": "v1", "kind": "List", "items": documents}
    kubectl("apply", "-f", "-", stdin=json.dumps(lists).encode(), namespace=namespace)


def has_kind(name):
    return kubectl("get", "crd", name, check=False)[0] == 0


def wait_for(what, condition, seconds=WAIT_S, every=0.2):
    """What the condition gives as soon as it gives something; how long it took."""
    begun = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() - begun > seconds:
            raise Failed(f"waited {seconds} s in vain for {what}")
        time.sleep(every)


# ---- the release ----

def install(chart=CHART, **values):
    helm("install", chart, values)


def upgrade(chart=CHART, **values):
    helm("upgrade", chart, values)


def helm(verb, chart, values, *options):
    """values: name__name=value for name.name."""
    words = []
    for name, value in values.items():
        text = json.dumps(value) if not isinstance(value, str) else value
        words += ["--set-json" if not isinstance(value, str) else "--set-string",
                  f"{name.replace('__', '.')}={text}"]
    return run(HELM, "-n", NAMESPACE, verb, RELEASE, chart, *words, *options)


def rolled_out(*deployments, seconds=WAIT_S):
    names = [f"deploy/{RELEASE}-{name}" for name in deployments]
    kubectl("rollout", "status", *names, f"--timeout={seconds}s")


def pods(component, ready=False, ending=False):
    """Pods of a component, those that are about to end only with `ending`."""
    labels = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
    found = [pod for pod in get("pods", "-l", labels)["items"]
             if ending or "deletionTimestamp" not in pod["metadata"]]
    return [pod for pod in found if not ready or any(
        c["type"] == "Ready" and c["status"] == "True"
        for c in pod["status"].get("conditions", []))]


def names(found):
    return [pod["metadata"]["name"] for pod in found]


def scale(component, count):
    """Helm 4 takes no field back from kubectl scale: through the values, as those who use it."""
    helm("upgrade", CHART, {f"{component}__replicas": count}, "--reuse-values")
    wait_for(f"{count} pods of {component}", lambda: len(pods(component)) == count)


def replicas(component):
    return get("deploy", f"{RELEASE}-{component}")["spec"]["replicas"]


# ---- the API ----

@functools.cache
def door():
    """The API through a port of the node, by way of the chart's own selector."""
    apply({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "door"},
        "spec": {"type": "NodePort", "ports": [{"port": 5000, "targetPort": "http"}],
                 "selector": {"app.kubernetes.io/instance": RELEASE,
                              "app.kubernetes.io/component": "serve"}}})
    return Api(node_url(get("service", "door")))


def node_url(service):
    """service: one of type NodePort."""
    port = service["spec"]["ports"][0]["nodePort"]
    node = get("nodes")["items"][0]
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    return f"http://{address}:{port}"


class Api:
    def __init__(self, base):
        self.base = base

    def ask(self, path, data=None, timeout=30):
        request = urllib.request.Request(
            self.base + path, data, {"Content-Type": "audio/wav"} if data else {})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=timeout) as response:
            return response.read()

    def try_ask(self, path, data=None):
        """None while the service does not answer."""
        try:
            return self.ask(path, data)
        except urllib.error.HTTPError as error:
            if error.code not in (502, 503, 504):  # the first and last are an Ingress's
                raise Failed(f"{path}: {error.code} {error.read()}") from error
        except OSError:
            pass
        return None

    def answers(self):
        try:
            return self.ask("/")
        except OSError:  # also an answer of the Ingress' own
            return None

    def try_submit(self, song, **options):
        """A job's id; None while the service does not answer."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        taken = self.try_ask(f"/apiv2/jobs?{query}", song)
        return taken and json.loads(taken)["id"]

    def submit(self, song, **options):
        return wait_for("a job to be accepted", lambda: self.try_submit(song, **options))

    def job(self, job_id):
        """None while the service does not answer."""
        found = self.try_ask(f"/apiv2/jobs/{job_id}")
        return found and json.loads(found)

    def until(self, job_id, what, condition, seconds=WAIT_S):
        """The job when the condition holds for it."""
        def look():
            job = self.job(job_id)
            if job and job["state"] in ("failed", "canceled", "expired"):
                raise Failed(f"{job_id} {job['state']}: {job.get('error')}")
            return job if job and condition(job) else None
        return wait_for(f"job {job_id[:8]} {what}", look, seconds)

    def at_work(self, job_id, seconds=WAIT_S):
        return self.until(job_id, "to be at work", lambda job: job["progress"] > 0, seconds)

    def done(self, *job_ids, attempts=1, seconds=WAIT_S):
        """All of them, each at its so many-th attempt at the latest."""
        for job_id in job_ids:
            job = self.until(job_id, "to end", lambda job: job["state"] == "succeeded", seconds)
            need(job["attempts"] <= attempts, f"job {job_id[:8]}: {job['attempts']} attempts")
            need(len(job["stems"]) == 4, f"job {job_id[:8]}: {len(job['stems'])} stems")


seeds = itertools.count(int(time.time()))  # no job of an earlier run


@functools.cache
def noise(seconds=20):
    """A song, as WAV."""
    target = io.BytesIO()
    with wave.open(target, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(44100)
        out.writeframes(random.Random(1).randbytes(4 * 44100 * seconds))
    return target.getvalue()


def submit(shifts):
    """A job of its own. A shift takes from a third of a second to one."""
    return door().submit(noise(), seed=next(seeds), shifts=shifts)


# ---- pods of our own ----

def pod(name, labels=None, command=("sleep", "3600"), **spec):
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
            "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
            "containers": [{"name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
                            "command": list(command), **spec.pop("container", {})}], **spec},
    }


def started(name, seconds=WAIT_S):
    wait_for(f"pod {name}", lambda: get("pod", name)["status"].get("phase") == "Running", seconds)


def inside(name, script, check=True, timeout=60):
    return kubectl("exec", name, "--", "sh", "-c", script, check=check, timeout=timeout)


def copy(source, name, target):
    """A file into a pod. kubectl ends before all of its input has arrived where the command there
    says nothing."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()

    def send():
        with source.open("rb") as data:
            said = subprocess.run(
                [KUBECTL, "-n", NAMESPACE, "exec", "-i", name, "--", "sh", "-c",
                 f"cat > {target}; sha256sum {target}"],
                stdin=data, stdout=subprocess.PIPE, check=True, timeout=120)
        return said.stdout.decode().startswith(digest)
    wait_for(f"{source.name} to arrive", send)


def opens(name, host, port):
    """Whether the pod gets a connection there."""
    _, said = inside(name, f"echo | timeout 4 nc -w 2 {host} {port}; echo tried", check=False)
    need("tried" in said, f"pod {name} tries nothing: {said}")
    return "can't connect" not in said and "timed out" not in said and "bad address" not in said


# ---- songs and weights ----

@functools.cache
def clip():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "clip.wav")
        subprocess.run([sys.executable, GOLDEN / "clip.py", path], check=True)
        return path.read_bytes()


def make_mirror(port=8000):
    """A pod that serves the published weights where the publisher cannot be reached."""
    source = pathlib.Path(os.environ["MSAAS_WEIGHTS"])
    labels = {"app": "mirror"}
    kubectl("delete", "pod", "mirror", "--ignore-not-found")
    apply(pod("mirror", labels, ["sh", "-c", f"mkdir /tmp/w; httpd -f -v -p {port} -h /tmp/w"],
              container={"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]},
              volumes=[{"name": "tmp", "emptyDir": {}}]),
          {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "mirror"},
           "spec": {"selector": labels, "ports": [{"port": port}]}})
    started("mirror")
    copy(source, "mirror", f"/tmp/w/{source.name}")
