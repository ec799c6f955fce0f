"""The image as the chart runs it: read-only, no capabilities, not root, 1.5 GiB and 2 processors,
on a real Redis and a real S3 server of the host's loopback. A song goes in, its worker is killed in
the middle, another finishes it. Called by scripts/test-image; CONTAINERS_CONF is set. Leaves no
containers behind.
"""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
from ports import free_port  # noqa: E402
from radosgw import Radosgw  # noqa: E402

IMAGE = "localhost/msaas:test"
SONG = "/usr/share/games/csmash/danslatristesse2-48.ogg"
SONG_SECONDS = 60
MEMORY = 1536 * 1024 * 1024
DEADLINE_S = 900
MODELS = os.environ.get("MSAAS_MODELS_DIR") or os.path.expanduser("~/.local/share/msaas/models")


def wait_for(what, condition):
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            value = condition()
        except OSError:
            value = None
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.2)


def podman(*arguments, check=True):
    result = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False,
                            timeout=DEADLINE_S)
    if check and result.returncode != 0:
        raise AssertionError(f"podman {arguments}: {result.stderr}")
    return result.stdout.strip()


def podman_output(*arguments):
    """Both streams: logs go where they were written to."""
    result = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=True,
                            timeout=DEADLINE_S)
    return result.stdout + result.stderr


class Image(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="msaas-image-")
        self.addCleanup(self.folder.cleanup)
        self.s3 = self.enterContext(Radosgw())
        # Redis on TLS, with a password: in the image, hiredis can.
        self.redis_port = free_port()
        self.authority = pathlib.Path(self.folder.name, "ca.pem")
        key = pathlib.Path(self.folder.name, "key.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2"]
            + ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
               "-keyout", key, "-out", self.authority],
            check=True,
            capture_output=True,
        )
        redis = subprocess.Popen(
            ["redis-server", "--port", "0", "--tls-port", str(self.redis_port), "--bind",
             "127.0.0.1", "--dir", self.folder.name]
            + ["--tls-cert-file", self.authority, "--tls-key-file", key, "--tls-auth-clients", "no"]
            + ["--requirepass", "s3cret", "--appendonly", "yes", "--save", ""],
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        self.addCleanup(redis.wait)
        self.addCleanup(redis.kill)

    def enterContext(self, manager):  # Python 3.11 has it, but let it be here for older ones
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def start(self, role, *options, host="localhost"):
        """A container as the chart's pod: returns its name."""
        name = f"msaas-test-{os.getpid()}-{role}-{time.monotonic_ns()}"
        scratch = pathlib.Path(self.folder.name, name)
        scratch.mkdir()
        scratch.chmod(0o777)
        podman(
            *["run", "-d", "--name", name, "--network", "host", "--read-only",
              "--read-only-tmpfs=false"],
            *["--cap-drop", "all", "--security-opt", "no-new-privileges", "--user", "65532:65532"],
            *["--memory", str(MEMORY), "--memory-swap", str(MEMORY), "--cpus", "2"],
            *["-v", f"{scratch}:/tmp", "-v", f"{MODELS}:/models:ro"],
            *["-e", "MSAAS_MODELS_DIR=/models", "-e", "MSAAS_SCRATCH=/tmp/scratch", "-e",
              "MSAAS_CACHE=/tmp/cache"],
            *["-v", f"{self.authority}:/ca.pem:ro", "-e", "SSL_CERT_FILE=/ca.pem"],
            *["-e", f"MSAAS_QUEUE=rediss://:s3cret@{host}:{self.redis_port}/0", "-e",
              "MSAAS_STORE=s3://"],
            *["-e", f"AWS_ENDPOINT_URL_S3={self.s3.endpoint}", "-e",
              f"AWS_ACCESS_KEY_ID={self.s3.access_key}"],
            *["-e", f"AWS_SECRET_ACCESS_KEY={self.s3.secret_key}", "-e", "MSAAS_LEASE=5"],
            *options,
            *[IMAGE, role],
        )
        self.addCleanup(podman, "rm", "-f", "-t", "0", name, check=False)
        return name

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as response:
            return response.read()

    def job(self, job_id):
        return json.loads(self.get(f"/apiv2/jobs/{job_id}"))

    def peak_bytes(self, name):
        """(of the process, of the container with its page cache where the kernel tells)"""
        pid = podman("inspect", "--format", "{{.State.Pid}}", name)
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        process = next(int(line.split()[1]) * 1024 for line in status.splitlines()
                       if line.startswith("VmHWM"))
        container = None
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            for file in (f"/sys/fs/cgroup/memory{path}/memory.max_usage_in_bytes",
                         f"/sys/fs/cgroup{path}/memory.peak"):
                if controllers in ("", "memory") and os.path.exists(file):
                    container = int(pathlib.Path(file).read_text(encoding="ascii"))
        return process, container

    def test_a_song_survives_its_worker(self):
        song = pathlib.Path(self.folder.name, "song.mp3")
        source = ["-i", SONG] if os.path.exists(SONG) else ["-f", "lavfi", "-i",
                                                            "anoisesrc=d=60:c=pink"]
        command = ["ffmpeg", "-v", "error", "-nostdin", *source, "-t", str(SONG_SECONDS), "-b:a",
                   "192k", str(song)]
        subprocess.run(command, check=True, timeout=DEADLINE_S)
        self.port = free_port()
        serve = self.start("serve", "-e", "MSAAS_HOST=127.0.0.1", "-e", f"MSAAS_PORT={self.port}")
        wait_for("serve to be ready", lambda: self.get("/readyz"))
        podman("exec", serve, "msaas", "health", "--port", str(self.port))
        self.assertIn(b"/assets/", self.get("/"))  # the page is in it, what built it is not
        self.assertEqual(podman("exec", serve, "sh", "-c", "command -v node npm || echo no"), "no")
        worker = self.start("work", "-e", f"MSAAS_WORKER_PORT={free_port()}", host="127.0.0.1")
        # which does not vouch for it
        stranger = self.start("logs", "-e", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt")

        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/apiv2/jobs", song.read_bytes(),
            {"Content-Type": "audio/mpeg"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            job_id = json.load(response)["id"]
        wait_for("the job to be halfway", lambda: self.job(job_id)["progress"] > 0.3)
        podman("kill", "--signal", "KILL", worker)
        self.assertNotEqual(self.job(job_id)["state"], "succeeded")

        second = self.start("work", "-e", f"MSAAS_WORKER_PORT={free_port()}")
        begun = time.monotonic()
        job = wait_for("the stems",
                       lambda: (j := self.job(job_id))["state"] in ("succeeded", "failed") and j)
        self.assertEqual(job["state"], "succeeded", f"{job}\n{podman('logs', second)}")
        self.assertEqual(job["attempts"], 2)
        self.assertEqual(len(job["stems"]), 4)
        for stem in job["stems"]:
            data = self.get(stem["url"])
            self.assertEqual(len(data), stem["bytes"])
            self.assertEqual(hashlib.sha256(data).hexdigest(), stem["sha256"])
        process, container = self.peak_bytes(second)
        self.assertEqual(podman("inspect", "--format", "{{.State.OOMKilled}} {{.State.Running}}",
                                second), "false true")
        took_s = time.monotonic() - begun
        print(f"{SONG_SECONDS} s of music in {took_s:.0f} s with the second worker's start;"
              f" peak of memory: process {process >> 20} MiB, container with page cache"
              f" {(container or 0) >> 20} MiB of {MEMORY >> 20}")
        wait_for("the stranger's complaint",
                 lambda: "certificate" in podman_output("logs", stranger))
        for name in (serve, second, stranger):
            self.assertNotIn("s3cret", podman_output("logs", name))
        # SIGTERM, as Kubernetes sends it.
        podman("kill", "--signal", "TERM", serve)
        self.assertEqual(podman("wait", serve), "0")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    unittest.main()
