"""What the end-to-end tests share: processes of msaas, a real Redis, songs, and waiting for
conditions.

Paths come from the environment (CTest sets them): E2E_MSAAS, E2E_MAKE_MODEL. Everything listens on
loopback, on ports that were free, and lives in temporary folders. Start processes from the main
thread: they die with the thread that started them.
"""

import array
import base64
import ctypes
import hashlib
import http.server
import math
import os
import pathlib
import signal
import struct
import subprocess
import sys
import threading
import time

import redis
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
from ports import free_port  # noqa: E402  (its folder was just added)
from recorder import record  # noqa: E402

MSAAS = os.path.abspath(os.environ.get("E2E_MSAAS", "build/msaas"))
MAKE_MODEL = os.path.abspath(os.environ.get("E2E_MAKE_MODEL", "build/test/make_model"))
DEADLINE_S = 300  # of every wait: far beyond what a loaded machine takes
HTTP = requests.Session()
HTTP.trust_env = False  # no proxies
record(HTTP)
STEMS = ["drums", "bass", "other", "vocals"]


def wait_for(what, condition, deadline_s=DEADLINE_S, every_s=0.03):
    """Waits until condition() is true and returns its value. Connection errors count as "not
    yet"."""
    end = time.monotonic() + deadline_s
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (requests.ConnectionError, redis.exceptions.RedisError) as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s} s in vain for {what}; last: {last!r}")
        time.sleep(every_s)


def files_under(folder):
    """Paths of all files, from the folder on. They may come and go meanwhile, as may folders, at
    which Path.rglob stumbles."""
    return sorted(os.path.relpath(os.path.join(where, name), folder)
                  for where, _, names in os.walk(folder) for name in names)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """One process, its output in a file."""

    def __init__(self, command, log, env=None, cwd=None):
        self.log = pathlib.Path(log)
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd=cwd,
                preexec_fn=die_with_parent,
            )

    def text(self):
        return self.log.read_text(errors="replace")

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, deadline_s=DEADLINE_S):
        """The exit status; negative: the signal that ended it."""
        try:
            return self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.popen.args} does not end:\n{self.text()[-3000:]}") from None

    def kill(self):
        if self.running():
            self.popen.kill()
        return self.popen.wait()

    def terminate(self, deadline_s=DEADLINE_S):
        self.signal(signal.SIGTERM)
        return self.wait(deadline_s)

    def rss_kib(self):
        for line in pathlib.Path(f"/proc/{self.popen.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")


class Redis:
    """A redis-server whose acknowledged writes are on the disk. kill() and start() keep port and
    data."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process = None

    def start(self, wait=True):
        self.process = Process(
            ["redis-server", "--bind", "127.0.0.1", "--port", self.port, "--dir", self.folder,
             "--appendonly", "yes",
             "--appendfsync", "always", "--save", "", "--loglevel", "warning"],
            self.folder / "redis.log",
        )
        if wait:
            with self.client() as client:
                wait_for("redis-server", client.ping)
        return self

    def kill(self):
        if self.process:
            self.process.kill()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options):
        return redis.Redis(port=self.port, **options)


class Site:
    """The processes of one installation: one queue, one store, any number of serve and work."""

    def __init__(self, folder, models, env):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.models = models
        self.env = {key: str(value) for key, value in env.items()}
        self.processes = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def environment(self, **more):
        ours = ("MSAAS_", "REDIS_", "MINIO_", "AWS_")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(ours) and not name.lower().endswith("_proxy")
        }
        own = {"MSAAS_MODEL": "tiny", "MSAAS_MODELS_DIR": str(self.models), "LC_ALL": "C",
               "TMPDIR": str(self.folder)}
        return kept | own | self.env | {key: str(value) for key, value in more.items()}

    def start(self, *command, env=None):
        name = f"{len(self.processes):03}-{command[0]}.log"
        process = Process([MSAAS, *command], self.folder / name,
                          env=self.environment(**(env or {})), cwd=self.folder)
        self.processes.append(process)
        return process

    def serve(self, *options, port=None, wait=True, env=None):
        port = port or self.port
        process = self.start("serve", "--host", "127.0.0.1", "--port", port, *options, env=env)
        process.url = f"http://127.0.0.1:{port}"
        if wait:
            self.wait_ready(process)
        return process

    def up(self, *options, wait=True, env=None):
        process = self.start("up", "--host", "127.0.0.1", "--port", self.port,
                             "--data", self.folder / "data", *options, env=env)
        process.url = self.url
        if wait:
            self.wait_ready(process)
        return process

    def work(self, *options, lease_s=60, grace_s=0.5, env=None):
        return self.start("work", "--host", "127.0.0.1", "--port", 0, "--lease", lease_s,
                          "--grace", grace_s, *options, env=env)

    def run(self, *command, expect=0, env=None, cwd=None):
        """A command that ends by itself; returns its standard output."""
        done = subprocess.run(
            [MSAAS, *map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", env=self.environment(**{"MSAAS_SERVER": self.url} | (env or {})),
            cwd=cwd or self.folder, timeout=DEADLINE_S, check=False)
        said = f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == expect, said
        return done.stdout

    def wait_ready(self, process):
        def ready():
            assert process.running(), f"ended at once:\n{process.text()[-3000:]}"
            return HTTP.get(process.url + "/readyz", timeout=DEADLINE_S).status_code == 200

        wait_for(f"{process.url}/readyz", ready)

    def stop(self):
        for process in self.processes:
            process.kill()

    def logs(self):
        return "".join(
            f"--- {process.log.name} (exit {process.popen.poll()})\n{process.text()[-3000:]}\n"
            for process in self.processes[-12:]
        )

    # ---- calls ----

    def get(self, path, **options):
        return HTTP.get(self.url + path, timeout=DEADLINE_S, **options)

    def post(self, path, **options):
        return HTTP.post(self.url + path, timeout=DEADLINE_S, **options)

    def delete(self, path, **options):
        return HTTP.delete(self.url + path, timeout=DEADLINE_S, **options)

    def separate(self, song, callback=None, **fields):
        """POST /apiv1/separate as it is; returns the hash."""
        body = {"mp3": base64.b64encode(song).decode()} | fields
        if callback:
            body["callback"] = callback
        answer = self.post("/apiv1/separate", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["hash"]

    def submit(self, song, **options):
        """POST /apiv2/jobs with the song as the body; returns the job."""
        answer = self.post("/apiv2/jobs", data=song, params=options,
                           headers={"Content-Type": "audio/wav"})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def job(self, ident):
        answer = self.get(f"/apiv2/jobs/{ident}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_state(self, ident, *states):
        return wait_for(
            f"{ident[:8]} to be {'/'.join(states)}",
            lambda: next((job for job in [self.job(ident)] if job["state"] in states), None),
        )

    def finished(self, ident):
        job = self.wait_state(ident, "succeeded", "failed", "canceled")
        assert job["state"] == "succeeded", job
        return job

    def check_result(self, job):
        """Every stem is there, and is what the job's record says. Returns {name: sha256}."""
        digests = {}
        for stem in job["stems"]:
            answer = self.get(stem["url"] if stem["url"].startswith("/")
                              else stem["url"].removeprefix(self.url))
            assert answer.status_code == 200, answer.text
            assert len(answer.content) == stem["bytes"], stem
            digests[stem["name"]] = hashlib.sha256(answer.content).hexdigest()
            assert digests[stem["name"]] == stem["sha256"], stem
        return digests


class Hook:
    """A small HTTP server that keeps what is POSTed to it: [(path, headers, body)]. `status` is its
    answer."""

    def __init__(self):
        self.got = []
        self.status = 200
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = hook.status  # who sees what came may set it for the next one
                hook.got.append((self.path, dict(self.headers.items()), body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.local_url = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def wav(seconds=0.5, tone=1, tag=None, rate_hz=8000):
    """A small song: mono, 16 bit. The same tone is the same audio; another tag makes another file
    of it."""
    second = array.array("h",
                         (int(9000 * math.sin(2 * math.pi * 60 * tone * n / rate_hz))
                          for n in range(rate_hz))).tobytes()
    samples = (second * math.ceil(seconds))[: 2 * int(seconds * rate_hz)]
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    if tag is not None:
        text = str(tag).encode()
        text += b"\0" * (len(text) % 2)
        chunks += b"junk" + struct.pack("<I", len(text)) + text
    chunks += b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def mp3(seconds=0.7, tone=1):
    """A song as the course's clients send it."""
    return subprocess.run(
        ["lame", "--quiet", "-b", "64", "-", "-"], input=wav(seconds, tone, rate_hz=44100),
        capture_output=True,
        check=True, timeout=DEADLINE_S,
    ).stdout


def song_id(song):
    return hashlib.sha224(song).hexdigest()


def make_models(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([MAKE_MODEL, "--tiny", "--name", "tiny", folder], check=True, timeout=DEADLINE_S)
    return folder
