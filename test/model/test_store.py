#!/usr/bin/python3
"""test_store.py MSAAS MAKE_MODEL TOOLS: `msaas model pull --via-store`, as workers of a cluster run
it, on a store in a folder and on a real S3 server. A publisher on the loopback interface counts how
often it is asked.
"""

import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

MSAAS, MAKE_MODEL, TOOLS = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
sys.path.insert(0, str(TOOLS))

import boto3  # noqa: E402
import make_published  # noqa: E402
import skip  # noqa: E402
from radosgw import Radosgw  # noqa: E402

DEADLINE_S = 300
WAITS = "Waiting for another worker"


class Publisher(http.server.BaseHTTPRequestHandler):
    """Serves server.files, when server.gate is open."""

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        with self.server.lock:
            self.server.asked.append(name)
        self.server.gate.wait(DEADLINE_S)
        data = self.server.files.get(name)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data)
        except OSError:
            pass  # the worker was asked to stop

    def log_message(self, *args):
        pass


class Folder:
    """A store in a folder, and its objects."""

    def __init__(self, path):
        self.path = path
        self.env = {**os.environ, "MSAAS_STORE": f"file:{path}"}

    def names(self):
        return {path.name for path in (self.path / "queue" / "models").glob("*")}

    def get(self, name):
        return (self.path / "queue" / "models" / name).read_bytes()

    def put(self, name, data):
        path = self.path / "queue" / "models" / name
        path.unlink()  # with the digest that lies in its attributes
        path.write_bytes(data)


class S3:
    """The same of a real S3 server, in buckets with a prefix of their own."""

    def __init__(self, server, prefix):
        self.bucket = f"{prefix}queue"
        self.env = {**server.env(), "MSAAS_STORE": f"s3://{prefix}"}
        self.client = boto3.client(
            "s3", endpoint_url=server.endpoint, region_name=server.region,
            aws_access_key_id=server.access_key, aws_secret_access_key=server.secret_key)

    def names(self):
        page = self.client.list_objects_v2(Bucket=self.bucket, Prefix="models/")
        return {entry["Key"].removeprefix("models/") for entry in page.get("Contents", [])}

    def get(self, name):
        return self.client.get_object(Bucket=self.bucket, Key=f"models/{name}")["Body"].read()

    def put(self, name, data):
        self.client.put_object(Bucket=self.bucket, Key=f"models/{name}", Body=data)


class Cases:
    """For each kind of store: self.store."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="msaas-test-")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.store = self.make_store()
        self.workers = 0
        self.manifest, files = self.publish("tune", 2)
        self.publisher = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
        self.publisher.asked, self.publisher.files = [], files
        self.publisher.lock, self.publisher.gate = threading.Lock(), threading.Event()
        self.publisher.gate.set()
        thread = threading.Thread(target=self.publisher.serve_forever,
                                  kwargs={"poll_interval": 0.05})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.publisher.server_close)
        self.addCleanup(self.publisher.shutdown)
        self.addCleanup(self.publisher.gate.set)
        self.once = sorted(files)

    def publish(self, name, networks, *options):
        """A published model: its manifest, as in models/, and its files."""
        home = self.folder / f"published-{name}"
        home.mkdir()
        subprocess.run([MAKE_MODEL, "--tiny", "--heads", "8", "--name", name, "--networks",
                        str(networks), *options, home], check=True)
        model = json.loads((home / f"{name}.json").read_text())
        files, entries = {}, []
        for i, network in enumerate(model["networks"]):
            source = home / f"{name}-source{i}.safetensors"
            make_published.pack(home / f"{name}.json", source, [], network=i)
            files[source.name] = source.read_bytes()
            entries.append({
                "weights": network["weights"],
                "sources": [{"file": source.name,
                             "sha256": hashlib.sha256(files[source.name]).hexdigest()}],
                "safetensors": network["sha256"],
            })
        manifest = home / "manifest.json"
        manifest.write_text(json.dumps({"name": name, "licence": "a test's",
                                        "stems": model["stems"], "networks": entries}))
        return manifest, files

    def start(self, manifest=None, env=None):
        """A worker's pull, into a folder of its own. The publisher needs no proxy."""
        self.workers += 1
        models = self.folder / f"worker-{self.workers}"
        url = f"http://127.0.0.1:{self.publisher.server_port}/"
        process = subprocess.Popen(
            [MSAAS, "model", "pull", str(manifest or self.manifest), "--via-store", "--url", url],
            env={**(env or self.store.env), "MSAAS_MODELS_DIR": str(models), "no_proxy": "*"},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.models = models
        return process

    def end(self, process, code=0):
        _, text = process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, code, text)
        return text

    def check(self, process, name="tune"):
        """The worker has the model, whole, and nothing besides."""
        made = json.loads((self.folder / f"published-{name}" / f"{name}.json").read_text())
        got = json.loads((process.models / f"{name}.json").read_text())
        self.assertEqual([n["sha256"] for n in got["networks"]],
                         [n["sha256"] for n in made["networks"]])
        for network in got["networks"]:
            data = (process.models / network["file"]).read_bytes()
            self.assertEqual(hashlib.sha256(data).hexdigest(), network["sha256"])
        self.assertEqual({path.name for path in process.models.iterdir()},
                         {f"{name}.json"} | {n["file"] for n in got["networks"]})

    def pull(self):
        process = self.start()
        text = self.end(process)
        self.check(process)
        return text

    def test_the_publisher_is_asked_once(self):
        self.pull()
        self.assertEqual(sorted(self.publisher.asked), self.once)
        self.assertEqual(self.store.names(), {"tune.json", "tune-0.safetensors",
                                              "tune-1.safetensors"})
        self.publisher.files = {}
        self.pull()
        self.assertEqual(sorted(self.publisher.asked), self.once)

    def test_all_at_once_end_well_and_one_asks(self):
        self.publisher.gate.clear()
        processes = [self.start() for _ in range(4)]
        waiting = threading.Semaphore(0)

        def watch(process):
            for line in process.stderr:
                if WAITS in line:
                    waiting.release()

        threads = [threading.Thread(target=watch, args=(process,)) for process in processes]
        for thread in threads:
            thread.start()
        for _ in range(len(processes) - 1):
            self.assertTrue(waiting.acquire(timeout=DEADLINE_S))
        self.publisher.gate.set()
        for process, thread in zip(processes, threads, strict=True):
            self.assertEqual(process.wait(timeout=DEADLINE_S), 0)
            thread.join()
            self.check(process)
        self.assertEqual(sorted(self.publisher.asked), self.once)
        self.assertNotIn("tune.claim", self.store.names())

    def test_what_is_damaged_is_fetched_anew(self):
        self.pull()
        weights, description = self.store.get("tune-1.safetensors"), self.store.get("tune.json")
        other, _ = self.publish("other", 2, "--seed", "5")
        stranger = (other.parent / "other.json").read_bytes().replace(b"other", b"tune")
        for name, damage in (
            ("tune-1.safetensors", weights[:-1] + bytes([weights[-1] ^ 1])),
            ("tune-1.safetensors", weights[: len(weights) // 2]),
            ("tune.json", description[: len(description) // 2]),
            ("tune.json", b""),
            ("tune.json", stranger),
        ):
            with self.subTest(name=name, bytes=len(damage)):
                self.publisher.asked.clear()
                self.store.put(name, damage)
                self.assertIn("not used", self.pull())
                self.assertEqual(sorted(self.publisher.asked), self.once)
                self.assertEqual(self.store.get("tune-1.safetensors"), weights)
                self.assertEqual(json.loads(self.store.get("tune.json")), json.loads(description))
                self.publisher.asked.clear()
                self.pull()
                self.assertEqual(self.publisher.asked, [])

    def test_another_model_under_that_name_is_not_taken(self):
        """Whole and consistent, but not the published one."""
        self.pull()
        other, _ = self.publish("other", 2, "--seed", "5")
        subprocess.run([MAKE_MODEL, "--tiny", "--heads", "8", "--name", "tune", "--networks", "2",
                        "--seed", "5", other.parent], check=True)
        for name in ("tune-0.safetensors", "tune-1.safetensors", "tune.json"):
            self.store.put(name, (other.parent / name).read_bytes())
        self.publisher.asked.clear()
        self.assertIn("not the published", self.pull())
        self.assertEqual(sorted(self.publisher.asked), self.once)

    def test_who_fails_leaves_the_way_free(self):
        files, self.publisher.files = self.publisher.files, {}
        self.assertIn("404", self.end(self.start(), code=1))
        self.assertEqual(self.store.names(), set())
        self.publisher.files = files
        self.assertNotIn(WAITS, self.pull())

    def test_who_is_asked_to_stop_leaves_the_way_free(self):
        self.publisher.gate.clear()
        first, second = self.start(), None
        while not self.publisher.asked:
            self.assertIsNone(first.poll())
        second = self.start()
        self.assertIn(WAITS, second.stderr.readline())
        first.terminate()
        self.end(first, code=130)
        self.publisher.gate.set()
        self.end(second)
        self.check(second)


class InAFolder(Cases, unittest.TestCase):
    def make_store(self):
        return Folder(self.folder / "objects")


class OnS3(Cases, unittest.TestCase):
    server, number = None, 0

    @classmethod
    def setUpClass(cls):
        if Radosgw.missing():
            raise unittest.SkipTest(f"no S3 server: {Radosgw.missing()}")
        cls.server = Radosgw()
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def make_store(self):
        OnS3.number += 1
        store = S3(self.server, f"t{self.number}-")
        self.addCleanup(store.client.close)
        return store

    def test_waits_for_a_store_that_starts_later(self):
        self.server.stop()
        process = self.start()
        try:
            self.assertIn("Waiting for the store", process.stderr.readline())
        finally:
            self.server.start()
        self.end(process)
        self.check(process)

    def test_wrong_keys_are_told(self):
        env = {**self.store.env, "AWS_SECRET_ACCESS_KEY": "wrong"}
        self.end(self.start(env=env), code=1)
        self.assertEqual(self.publisher.asked, [])


class Refusals(unittest.TestCase):
    def refused(self, *args, env=None):
        with tempfile.TemporaryDirectory(prefix="msaas-test-") as folder:
            run = subprocess.run(
                [MSAAS, "model", *args], capture_output=True, text=True, check=False,
                env={"PATH": os.environ["PATH"], "MSAAS_MODELS_DIR": folder, **(env or {})})
        self.assertEqual(run.returncode, 2, run.stderr)
        return run.stderr

    def test_without_a_store(self):
        self.assertIn("no store", self.refused("pull", "htdemucs", "--via-store"))

    def test_of_other_actions(self):
        self.assertIn("model pull only", self.refused("list", "--via-store"))


if __name__ == "__main__":
    skip.main(sys.argv[:1])
