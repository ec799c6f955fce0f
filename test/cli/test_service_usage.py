#!/usr/bin/python3
"""The service's commands without a service: help, what they refuse at start and how they say it, what config shows, clients
that find no server or a strange one, up without what it needs; up's children."""

import hashlib
import http.server
import json
import os
import pathlib
import signal
import socket
import threading
import time

import cli

COMMANDS = ("up", "serve", "work", "logs", "submit", "status", "fetch", "queue", "rm", "health", "config")
CLIENTS = (["submit", "x.wav"], ["status", "0" * 56], ["fetch", "0" * 56], ["queue"], ["rm", "0" * 56])
IDENT = "0123456789abcdef" * 3 + "01234567"


class Case(cli.Case):
    """`variables` go into the environment, beside what every test has; nothing else of a service is in it."""

    variables = {}

    def environment(self):
        ours = ("REDIS_", "MINIO_", "AWS_", "XDG_")
        kept = {name: value for name, value in super().environment().items() if not name.startswith(ours)}
        return {**kept, "no_proxy": "*", **self.variables}

    def message(self, *arguments, expect=2, **variables):
        """What it says in its one line on standard error."""
        self.variables = variables
        out, err = self.run_msaas(*arguments, expect=expect)
        self.assertEqual(out, "")
        self.assertRegex(err, r"\Amsaas: [^\n]+\n\Z")
        return err


class Help(Case):
    def test_a_reader_that_stops(self):
        read, write = os.pipe()
        os.close(read)
        for command in (["config", "--help"], ["help"], ["config"]):
            _, err = self.run_msaas(*command, stdout=write, expect=1)
            self.assertEqual(err, "")
        os.close(write)

    def test_of_every_command(self):
        overview = self.run_msaas("--help")[0]
        for command in COMMANDS:
            with self.subTest(command=command):
                out, err = self.run_msaas(command, "--help")
                self.assertEqual(err, "")
                self.assertIn(f"Usage: msaas {command}", out)
                self.assertRegex(out, r"Examples?:\n  ")
                self.assertIn("xit code", " ".join(out.split()))
                self.assertLessEqual(max(map(len, out.splitlines())), 90)
                self.assertRegex(overview, rf"(?m)^  {command} +\S")
                self.assertEqual(self.run_msaas("help", command)[0], out)


class Services(Case):
    """What is missing or contradicts itself ends them at once, in one line that names option and variable."""

    S3 = {"MSAAS_QUEUE": "sqlite:q.db", "MSAAS_STORE": "s3://", "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hush"}
    FILE = {"MSAAS_QUEUE": "sqlite:q.db", "MSAAS_STORE": "file:objects"}

    def test_missing(self):
        for command in ("serve", "work", "logs"):
            self.assertRegex(self.message(command), "--queue .*MSAAS_QUEUE")
        for command in ("serve", "work"):
            self.assertRegex(self.message(command, REDIS_HOST="127.0.0.1"), "--store .*MSAAS_STORE")
            for name, option in (("AWS_ACCESS_KEY_ID", "--s3-access-key"), ("AWS_SECRET_ACCESS_KEY", "--s3-secret-key-file")):
                without = {key: value for key, value in self.S3.items() if key != name}
                self.assertRegex(self.message(command, **without), f"{option} .*{name}")

    def test_wrong(self):
        for arguments, variables, says in [
            (["serve"], {**self.FILE, "MSAAS_QUEUE": "ftp://x"}, "MSAAS_QUEUE .--queue.: "),
            (["work"], {**self.FILE, "MSAAS_QUEUE": "nonsense"}, "MSAAS_QUEUE .--queue.: "),
            (["serve", "--queue", "nonsense"], self.FILE, "--queue .MSAAS_QUEUE.: "),
            (["logs"], {"REDIS_HOST": "h", "REDIS_PORT": "abc"}, "REDIS_PORT .--queue.: .*65535"),
            (["logs"], {"REDIS_HOST": "redis://h"}, "REDIS_HOST .--queue.: .*no URL"),
            (["serve"], {**self.FILE, "MSAAS_STORE": "what:"}, "MSAAS_STORE .--store.: "),
            (["work"], {**self.FILE, "MSAAS_STORE": "objects"}, "MSAAS_STORE .--store.: "),
            (["work"], {**self.S3, "MINIO_HOST": "http://h:9000"}, "MINIO_HOST .--s3-endpoint.: .*no URL"),
            (["serve"], {**self.S3, "MINIO_HOST": "h:x"}, "MINIO_HOST .--s3-endpoint.: "),
            (["serve"], {**self.S3, "AWS_ENDPOINT_URL": "minio:9000"}, "AWS_ENDPOINT_URL .--s3-endpoint.: .*http://"),
            (["serve", "--s3-endpoint", "minio:9000"], self.S3, "--s3-endpoint .AWS_ENDPOINT_URL_S3.: .*http://"),
            (["work", "--s3-endpoint", "http://http://h:9000"], self.S3, "--s3-endpoint .AWS_ENDPOINT_URL_S3.: .*http://"),
            (["work", "--s3-endpoint", "http://h:99999"], self.S3, "--s3-endpoint .AWS_ENDPOINT_URL_S3.: .*http://"),
            (["work", "--s3-ca-file", "nofile"], self.S3, "--s3-ca-file .AWS_CA_BUNDLE.: nofile: No such file"),
            (["serve"], {**self.S3, "AWS_CA_BUNDLE": __file__}, "AWS_CA_BUNDLE .--s3-ca-file.: .*PEM"),
            (["serve"], {**self.S3, "AWS_CA_BUNDLE": "/"}, "AWS_CA_BUNDLE .--s3-ca-file.: /: Is a directory"),
            (["serve"], {**self.S3, "AWS_SECRET_ACCESS_KEY": "hush\n"}, "AWS_SECRET_ACCESS_KEY .--s3-secret-key-file.: .*line break"),
            (["work", "--callback-allow", "foo"], self.FILE, "--callback-allow .MSAAS_CALLBACK_ALLOW.: "),
            (["work"], {**self.FILE, "MSAAS_WEBHOOK_SECRET": "whsec_!!!"}, "MSAAS_WEBHOOK_SECRET .--webhook-secret-file.: "),
            (["work"], {**self.FILE, "MSAAS_DEVICE": "abacus"}, "MSAAS_DEVICE .--device.: "),
            (["serve", "--s3-endpoint", "http://x"], self.FILE, "--s3-endpoint .*--store s3://"),
            (["serve", "--presign", "60"], self.FILE, "--presign .MSAAS_PRESIGN. .*s3://"),
            (["up", "--workers", "0"], {}, "--workers: must be from 1"),
            (["health", "--json"], {}, '--json is an option of other commands, not of "msaas health"'),
            (["serve", "--models", "tiny,,x"], self.FILE, "--models"),
            (["serve"], {**self.FILE, "MSAAS_PORT": "many"}, "MSAAS_PORT .--port.: "),
            (["work"], {**self.FILE, "MSAAS_LEASE": "0"}, "MSAAS_LEASE .--lease.: "),
            (["work", "--device", "abacus"], self.FILE, "--device"),
            (["work"], {**self.FILE, "MSAAS_PRECISION": "float16"}, "MSAAS_PRECISION .--precision.: .*auto.float32.bf16"),
            (["serve", "--precision", "bf16"], self.FILE, "--precision is an option of other commands"),
            (["submit", "--precision", "half", "x"], {}, "--precision: must be one of auto.float32.bf16"),
            (["serve", "x"], self.FILE, '"x"'),
            (["work"], {**self.FILE, "MSAAS_S3_VIRTUAL_HOST": "maybe"}, "MSAAS_S3_VIRTUAL_HOST"),
        ]:
            with self.subTest(arguments=arguments, variables=variables):
                self.assertRegex(self.message(*arguments, **variables), says)

    def test_places_that_cannot_be_opened(self):
        """Of this machine, so that waiting mends nothing; and before the model, which none of these gets to see."""
        (self.folder / "folder").mkdir()
        (self.folder / "text").write_text("this is no data base, but long enough to be looked at" * 99)
        work = ["work", "--port", "0", "--model", "nonesuch"]
        for arguments, variables, says, code in [
            (["serve"], {**self.FILE, "MSAAS_QUEUE": "sqlite:/nonexist/q.db"}, "MSAAS_QUEUE .--queue.: .*/nonexist/q.db: ", 2),
            (["serve"], {**self.FILE, "MSAAS_QUEUE": "sqlite:folder"}, "MSAAS_QUEUE .--queue.: ", 2),
            (["logs", "--queue", "sqlite:folder"], {}, "--queue .MSAAS_QUEUE.: ", 2),
            (work, {**self.FILE, "MSAAS_QUEUE": "sqlite:folder"}, "MSAAS_QUEUE .--queue.: ", 2),
            (["logs", "--queue", "sqlite:text"], {}, "--queue .MSAAS_QUEUE.: ", 1),
            (["serve"], {**self.FILE, "MSAAS_STORE": "file:text"}, "MSAAS_STORE .--store.: ", 2),
            (work, {**self.FILE, "MSAAS_STORE": "file:/proc/nowhere"}, "MSAAS_STORE .--store.: ", 2),
            (work + ["--scratch", "/proc/x"], self.FILE, "--scratch .MSAAS_SCRATCH.: ", 1),
        ]:
            with self.subTest(arguments=arguments, variables=variables):
                self.assertRegex(self.message(*arguments, expect=code, **variables), says)

    def test_address_of_another(self):
        for command in (["serve"], ["work"], ["up", "--data", "data"]):
            message = self.message(*command, "--host", "192.0.2.1", **self.FILE)
            self.assertRegex(message, "--host.*192.0.2.1.*address")
            self.assertNotIn("another port", message)

    def test_unknown_model(self):
        for command in (["serve"], ["work", "--port", "0"], ["up"]):
            self.assertIn("nonesuch", self.message(*command, "--model", "nonesuch", expect=1, **self.FILE))

    def test_secrets_stay_off_the_command_line(self):
        message = self.message("work", "--webhook-secret", "hunter2", **self.FILE)
        self.assertIn("MSAAS_WEBHOOK_SECRET", message)
        self.assertIn("--webhook-secret-file", message)
        self.assertNotIn("hunter2", message)
        for name, value in (("queue", "redis://me:hunter2@h/0"), ("queue", "redis://:hunter2@["), ("s3-endpoint", "https://me:hunter2@h")):
            message = self.message("serve", f"--{name}", value, **self.S3)
            self.assertRegex(message, "the command line.*(MSAAS_QUEUE|AWS_ENDPOINT_URL_S3)")
            self.assertNotIn("hunter2", message)
        self.assertIn("MSAAS_SERVER", self.message("status", "--server", "http://me:hunter2@h", IDENT))

    def test_no_error_shows_what_may_be_a_secret(self):
        for command, variables in (
            (["logs"], {"MSAAS_QUEUE": "me:hunter2@h"}), (["logs"], {"MSAAS_QUEUE": "redis://me:hunter2@h:x"}),
            (["logs"], {"REDIS_HOST": "me:hunter2@h"}), (["logs"], {"REDIS_HOST": "h", "REDIS_PORT": "hunter2"}),
            (["serve"], {**self.FILE, "MSAAS_STORE": "https://me:hunter2@h"}),
            (["serve", "--s3-endpoint", "http://h"], {**self.FILE, "MSAAS_STORE": "https://me:hunter2@h"}),
            (["work"], {**self.S3, "AWS_ENDPOINT_URL": "http://me:hunter2@h"}),
            (["work"], {**self.S3, "MINIO_HOST": "me:hunter2@h"}),
            (["work"], {**self.FILE, "MSAAS_WEBHOOK_SECRET": "whsec_hunter2"}),
            (["queue"], {"MSAAS_SERVER": "me:hunter2@h"}),
        ):
            with self.subTest(command=command, variables=variables):
                self.assertNotIn("hunter2", self.message(*command, **variables))

    def test_taken_port(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            for command in (["serve"], ["up", "--data", "data"]):
                message = self.message(*command, "--host", "127.0.0.1", "--port", port, **self.FILE)
                self.assertIn(port, message)
                self.assertIn("--port", message)
            message = self.message("work", "--host", "127.0.0.1", "--port", port, **self.FILE)
            self.assertIn("MSAAS_WORKER_PORT", message)

    def test_up_without_a_place(self):
        self.assertIn("/proc/nowhere", self.message("up", "--data", "/proc/nowhere", expect=1))


class Config(Case):
    def config(self, *arguments, **variables):
        self.variables = variables
        return json.loads(self.run_msaas("config", *arguments, "--json")[0])

    def test_where_values_come_from(self):
        serve = self.config("serve", "--port", "80", REDIS_HOST="redis", MSAAS_LINGER="3")["serve"]
        self.assertEqual(serve["port"], {"value": "80", "from": "command line"})
        self.assertEqual(serve["queue"]["value"], "redis://redis:6379/0")
        self.assertIn("REDIS_HOST", serve["queue"]["from"])
        self.assertEqual(serve["linger"], {"value": "3", "from": "environment: MSAAS_LINGER"})
        self.assertEqual(serve["grace"]["from"], "default")
        self.assertEqual(serve["store"], {"value": None, "from": "not set"})

    def test_what_is_used_where_nothing_was_said(self):
        home = {"HOME": "/home/me", "TMPDIR": "/scratch", "AWS_REGION": "eu-1", "MSAAS_STORE": "s3://"}
        serve = self.config("serve", **home)["serve"]
        self.assertEqual(serve["host"], {"value": "0.0.0.0", "from": "default"})
        self.assertEqual(serve["models"], {"value": "tiny", "from": "default"})
        self.assertEqual(serve["cache"], {"value": "/home/me/.cache/msaas", "from": "default"})
        self.assertEqual(serve["s3-endpoint"], {"value": "https://s3.eu-1.amazonaws.com", "from": "default"})
        up = self.config("up", **home, MSAAS_MODELS_DIR="")["up"]
        for name, value in (("host", "127.0.0.1"), ("scratch", "/scratch/msaas"), ("data", "/home/me/.local/share/msaas/data"),
                            ("models-dir", "/home/me/.local/share/msaas/models")):
            self.assertEqual(up[name], {"value": value, "from": "default"})
        self.assertEqual(self.config("work", MSAAS_SCRATCH="/s")["work"]["scratch"]["from"], "environment: MSAAS_SCRATCH")
        self.assertEqual(self.config("work")["work"]["precision"]["value"], "auto")
        self.assertEqual(self.config("up", MSAAS_PRECISION="bf16")["up"]["precision"]["value"], "bf16")
        self.assertFalse(self.files("."))

    def test_what_is_wrong_is_said_as_the_command_itself_would(self):
        for command, variables, code in (
            ("serve", {"MSAAS_QUEUE": "amqp://x", "MSAAS_STORE": "file:objects"}, 2),
            ("serve", {"MSAAS_QUEUE": "sqlite:q", "MSAAS_STORE": "file:objects", "MSAAS_MODELS": "tiny,,x"}, 2),
            ("work", {"MSAAS_QUEUE": "sqlite:q", "MSAAS_STORE": "s3://", "MINIO_HOST": "http://m"}, 2),
            ("work", {"MSAAS_QUEUE": "sqlite:q", "MSAAS_STORE": "file:objects", "MSAAS_WEBHOOK_SECRET": "whsec_!!!"}, 2),
            ("up", {"MSAAS_CALLBACK_ALLOW": "foo"}, 2),
            ("up", {"MSAAS_DEVICE": "abacus"}, 2),
        ):
            with self.subTest(command=command, variables=variables):
                self.variables = variables
                out, err = self.run_msaas("config", command, expect=code)
                self.assertIn(f"{command}:\n", out)
                self.assertEqual(err, self.message(command, expect=code, **variables))
        self.variables = {"MSAAS_QUEUE": "amqp://x"}
        out, err = self.run_msaas("config", "--json", expect=2)
        self.assertEqual(list(json.loads(out)), ["serve", "work", "logs"])
        self.assertEqual(err.count("\n"), 1)

    def test_logins_are_hidden_but_seen(self):
        for queue, shown in (
            ("redis://user:hunter2@h/0", "redis://***@h/0"), ("redis://:hunter2@h", "redis://***@h"),
            ("redis://user:hunt@hunter2@h", "redis://***@h"), ("redis://hunter2@h?hunter2", "redis://***@h"),
            ("me:hunter2@h", "***@h"), ("redis://h:hunter2", "(not a URL)"), ("sqlite:/home/me@h/q.db", "sqlite:/home/me@h/q.db"),
        ):
            with self.subTest(queue=queue):
                self.variables = {"MSAAS_QUEUE": queue}
                process = self.popen("config", "logs")
                with process:
                    out, err = process.communicate(timeout=cli.DEADLINE_S)
                self.assertIn(f" {shown}  (", out)
                self.assertNotIn("hunter2", out + err)

    def test_the_course_s_variables(self):
        names = {"REDIS_HOST": "r", "REDIS_PORT": "7", "MINIO_HOST": "m:9000", "MINIO_USER": "u", "MINIO_PASSWD": "hush"}
        both = self.config(**names)
        self.assertEqual(list(both), ["serve", "work", "logs"])
        for command in ("serve", "work"):
            values = {name: row["value"] for name, row in both[command].items()}
            self.assertEqual(values["queue"], "redis://r:7/0")
            self.assertEqual(values["store"], "s3://")
            self.assertEqual(values["s3-endpoint"], "http://m:9000")
            self.assertEqual(values["s3-access-key"], "u")
            self.assertEqual(values["s3-secret-key-file"], "***")

    def test_no_secret_is_shown(self):
        secret = self.folder / "secret"
        secret.write_text("hunter2\n")
        self.variables = {
            "MSAAS_QUEUE": "redis://user:hunter2@redis:6379/0",
            "AWS_SECRET_ACCESS_KEY": "hunter2",
            "AWS_SESSION_TOKEN": "hunter2",
            "MSAAS_WEBHOOK_SECRET": "hunter2",
        }
        for arguments in ([], ["--json"], ["work"], ["work", "--webhook-secret-file", secret]):
            out, err = self.run_msaas("config", *arguments)
            self.assertIn("***", out)
            self.assertIn("redis:6379", out)
            self.assertNotIn("hunter2", out + err)

    def test_refusals(self):
        self.assertIn('"sing"', self.message("config", "sing"))
        self.assertIn("--port", self.message("config", "serve", "--port", "x"))


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers every request from `answers`: {(method, path without query): (status, body)}."""

    def reply(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.server.got.append((self.command, self.path, self.rfile.read(length)))
        status, body = self.server.answers.get((self.command, self.path.split("?")[0]), (404, {"detail": "none such", "code": "not_found"}))
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = reply

    def log_message(self, *_):
        pass


class Clients(Case):
    def setUp(self):
        super().setUp()
        cli.make_wav(self.folder / "x.wav", 0.1)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.got, self.server.answers = [], {}
        self.variables = {"MSAAS_SERVER": f"http://127.0.0.1:{self.server.server_port}/"}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def answer(self, method, path, body, status=200):
        self.server.answers[method, path] = (status, body)

    def job(self, state="succeeded", **more):
        return {
            "id": IDENT, "state": state, "progress": 1, "position": None, "options": {"format": "mp3", "model": "tiny"},
            "input": {"name": "x.wav", "bytes": 5}, "stems": [], "error": None, **more,
        }

    def test_no_server(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        for arguments in CLIENTS:
            message = self.message(*arguments, expect=1, MSAAS_SERVER=url)
            self.assertIn(f"cannot reach a server at {url}: start one with \"msaas up\"", message)
            self.assertIn("MSAAS_SERVER", message)
        self.message("health", "--port", url.rpartition(":")[2], expect=1, MSAAS_WORKER_PORT="0")

    def test_wrong_usage(self):
        for arguments, says in [
            (["submit"], "name at least one file"),
            (["submit", "--mp3", "--wav", "x.wav"], "exclude each other"),
            (["submit", "--stems", "a", "--two-stems", "a", "x.wav"], "exclude each other"),
            (["status"], "name a job"),
            (["fetch", IDENT.upper()], "not a job ID"),
            (["rm", IDENT[:-1]], "not a job ID"),
            (["queue", "x"], "no argument"),
            (["fetch", "-o", "x", IDENT, IDENT], "--out"),
            (["queue", "--server", "ftp://x"], "MSAAS_SERVER"),
        ]:
            with self.subTest(arguments=arguments):
                self.assertIn(says, self.message(*arguments, **self.variables))
        self.assertEqual(self.server.got, [])

    def test_strange_servers(self):
        for body in (b"", b"<html>", b"[]", b"{}", {"id": "../../etc", "state": "succeeded"}, {"id": IDENT, "state": "singing"}):
            self.answer("GET", f"/apiv2/jobs/{IDENT}", body)
            self.message("status", IDENT, expect=1, **self.variables)
        self.answer("GET", f"/apiv2/jobs/{IDENT}", b"\x1b[2J", status=500)
        self.assertNotIn("\x1b", self.message("status", IDENT, expect=1, **self.variables))

    def test_submit(self):
        self.answer("POST", "/apiv2/jobs", self.job("queued"), status=202)
        out, err = self.run_msaas("submit", "--two-stems", "vocals", "--flac", "--shifts", "2", "--precision", "bf16", "x.wav")
        self.assertEqual((out, err), (IDENT + "\n", ""))
        method, path, body = self.server.got[0]
        self.assertEqual(body, (self.folder / "x.wav").read_bytes())
        asked = {"two_stems=vocals", "format=flac", "shifts=2", "precision=bf16", "name=x.wav"}
        self.assertEqual(set(path.partition("?")[2].split("&")), asked)
        self.variables["MSAAS_PRECISION"] = "float32"  # a worker's, which is none of a client's business
        self.run_msaas("submit", "x.wav")
        self.assertEqual(self.server.got[1][1].partition("?")[2], "name=x.wav")
        self.answer("POST", "/apiv2/jobs", {"detail": "that is no song", "code": "input"}, status=422)
        message = self.message("submit", "x.wav", expect=1, **self.variables)
        self.assertIn("x.wav", message)
        self.assertIn("that is no song", message)

    def test_submit_what_is_no_file(self):
        (self.folder / "empty.wav").touch()
        for name in ("none.wav", "empty.wav", "."):
            self.assertIn(name, self.message("submit", name, expect=1, **self.variables))
        self.assertEqual(self.server.got, [])

    def test_wait(self):
        self.answer("POST", "/apiv2/jobs", self.job("queued"), status=202)
        self.answer("GET", f"/apiv2/jobs/{IDENT}", self.job("running"))
        process = self.popen("submit", "--wait", "--json", "x.wav")
        with process:
            self.until(lambda: len(self.server.got) > 2)
            self.answer("GET", f"/apiv2/jobs/{IDENT}", self.job())
            out, _ = process.communicate(timeout=cli.DEADLINE_S)
        self.assertEqual((process.returncode, json.loads(out)["state"]), (0, "succeeded"))
        self.answer("GET", f"/apiv2/jobs/{IDENT}", self.job("failed", error={"code": "input", "message": "no music in it"}))
        out, err = self.run_msaas("submit", "--wait", "x.wav", expect=1)
        self.assertEqual(out, "")
        self.assertIn("no music in it", err)

    def until(self, condition):
        deadline = time.monotonic() + cli.DEADLINE_S
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_interrupted(self):
        self.answer("GET", f"/apiv2/jobs/{IDENT}", self.job("running"))
        process = self.popen("fetch", "--wait", IDENT)
        with process:
            self.until(lambda: self.server.got)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=cli.DEADLINE_S)
        self.assertEqual(process.returncode, 130)

    def stems(self, content=b"music", sha256=None, **more):
        sha256 = sha256 or hashlib.sha256(b"music").hexdigest()
        self.answer("GET", f"/apiv2/jobs/{IDENT}/stems/vocals.mp3", content)
        stem = {"name": "vocals", "bytes": 5, "sha256": sha256, **more}
        self.answer("GET", f"/apiv2/jobs/{IDENT}", self.job(stems=[stem]))

    def test_fetch(self):
        self.stems()
        out, _ = self.run_msaas("fetch", IDENT)
        path = f"separated/{IDENT}/vocals.mp3"
        self.assertEqual(out, path + "\n")
        self.assertEqual((self.folder / path).read_bytes(), b"music")
        out, _ = self.run_msaas("fetch", "--json", "-o", "here", IDENT)
        self.assertEqual(json.loads(out), {"id": IDENT, "stems": [{"name": "vocals", "path": "here/vocals.mp3"}]})

    def test_fetch_what_is_not_whole(self):
        for content, more in (
            (b"musik", {}), (b"music, and more", {}), (b"mus", {}), (b"music", {"sha256": "0" * 64}), (b"music", {"bytes": 6}),
            (b"music", {"name": "../vocals"}), (b"music", {"name": ""}), (b"music", {"name": None}),
        ):
            with self.subTest(content=content, more=more):
                self.stems(content, **more)
                self.message("fetch", "-o", "there", IDENT, expect=1, **self.variables)
                self.assertEqual(self.files("there"), [])
        self.assertFalse((self.folder / "vocals.mp3").exists())

    def test_fetch_before_the_end(self):
        self.answer("GET", f"/apiv2/jobs/{IDENT}", self.job("running", progress=0.4))
        self.assertIn("--wait", self.message("fetch", IDENT, expect=1, **self.variables))
        self.answer("GET", f"/apiv2/jobs/{IDENT}", self.job("failed", error={"code": "poison", "message": "three crashes"}))
        self.assertIn("three crashes", self.message("fetch", IDENT, expect=1, **self.variables))

    def test_status_and_queue_and_rm(self):
        self.answer("GET", f"/apiv2/jobs/{IDENT}", self.job("running", progress=0.43, input={"name": "x\x1b.wav", "bytes": 5}))
        out, _ = self.run_msaas("status", IDENT)
        self.assertIn("running, 43 %", out)
        self.assertNotIn("\x1b", out)
        jobs = [self.job("queued", id=digit * 56, position=position) for digit, position in (("b", 1), ("a", 0))]
        self.answer("GET", "/apiv2/jobs", {"jobs": jobs, "next_cursor": None})
        out, _ = self.run_msaas("queue")
        self.assertEqual([line.split()[1] for line in out.splitlines()], ["a" * 56, "b" * 56])
        out, _ = self.run_msaas("queue", "--json")
        self.assertEqual([json.loads(line)["position"] for line in out.splitlines()], [0, 1])
        self.answer("DELETE", f"/apiv2/jobs/{IDENT}", b"", status=204)
        self.assertIn(IDENT, self.run_msaas("rm", IDENT)[0])
        out, err = self.run_msaas("rm", "f" * 56, IDENT, expect=1)
        self.assertIn("none such", err)
        self.assertIn(IDENT, out)

    def test_health(self):
        self.answer("GET", "/healthz", b"ok")
        port = self.server.server_port
        self.run_msaas("health", "--port", port)
        with socket.create_server(("127.0.0.1", 0)) as free:
            other = free.getsockname()[1]
        self.variables = {"MSAAS_WORKER_PORT": str(port)}
        self.run_msaas("health", "--port", other)
        self.answer("GET", "/healthz", b"stuck", status=503)
        self.message("health", "--port", port, expect=1, MSAAS_WORKER_PORT=str(other))


class Up(Case):
    """Its children: they come back when they crash, and go when it goes."""

    def refused(self, *arguments, starts=False, expect=2, **variables):
        """Ends without a banner, and (unless `starts`) before anything runs: one line is all it says."""
        self.variables = variables
        out, err = self.run_msaas("up", "--data", "data", "--port", "0", *arguments, expect=expect)
        self.assertEqual(out, "")
        if not starts:
            self.assertEqual(err.count("\n"), 1, err)
        return err

    def test_what_is_wrong_is_found_before_anything_starts(self):
        self.assertIn("MSAAS_CALLBACK_ALLOW (--callback-allow): ", self.refused(MSAAS_CALLBACK_ALLOW="foo"))
        self.assertIn("--callback-allow (MSAAS_CALLBACK_ALLOW): ", self.refused("--callback-allow", "foo"))
        self.assertIn("MSAAS_WEBHOOK_SECRET (--webhook-secret-file): ", self.refused(MSAAS_WEBHOOK_SECRET="whsec_!!!"))
        self.assertIn("MSAAS_DEVICE (--device): ", self.refused(MSAAS_DEVICE="abacus"))
        self.assertIn("--scratch (MSAAS_SCRATCH): ", self.refused("--scratch", "/proc/x", expect=1))
        # what is said of other stores and queues is none of its business
        self.assertIn("--device", self.refused("--device", "abacus", MINIO_HOST="http://h", REDIS_HOST="h:h", AWS_CA_BUNDLE="no"))

    def test_a_worker_that_cannot_run_leaves_no_banner(self):
        """The model is what its JSON file promises in name only: no more than a worker finds that out."""
        models = self.folder / "models"
        models.mkdir()
        for file in self.models.iterdir():
            (models / file.name).write_bytes(file.read_bytes())
        weights = next(models.glob("*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        err = self.refused("--models-dir", models, starts=True, expect=1)
        self.assertIn("work 1 cannot run", err)

    def start(self):
        log = (self.folder / "log").open("w")
        self.addCleanup(log.close)
        up = self.popen("up", "--data", "data", "--port", "0", "--grace", "5", stdout=log, stderr=log)
        self.addCleanup(lambda: (up.kill(), up.wait()))
        self.until(lambda: up.poll() is not None or ("curl" in self.text() and "worker ready" in self.text()))
        self.assertIsNone(up.poll(), self.text())
        return up

    def text(self):
        return (self.folder / "log").read_text()

    def children(self, up):
        """Their processes by command."""
        found = {}
        for pid in pathlib.Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split():
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if len(words) > 1:
                found[words[1].decode()] = int(pid)
        return found

    def until(self, condition):
        deadline = time.monotonic() + cli.DEADLINE_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.text())
            time.sleep(0.05)

    def test_crashed_children_come_back_and_the_end_is_orderly(self):
        up = self.start()
        for command, says in (("work", "worker ready"), ("serve", "listening on")):
            before = self.children(up)[command]
            os.kill(before, signal.SIGKILL)
            self.until(lambda: self.children(up).get(command, before) != before and self.text().count(says) == 2)
        children = self.children(up).values()
        up.send_signal(signal.SIGINT)
        self.assertEqual(up.wait(cli.DEADLINE_S), 0)
        self.assertFalse([pid for pid in children if os.path.exists(f"/proc/{pid}")])

    def test_children_die_with_it(self):
        up = self.start()
        children = self.children(up)
        self.assertEqual(sorted(children), ["serve", "work"])
        up.kill()
        up.wait()
        # whoever reaps orphans here may be slow: a zombie is dead too
        self.until(lambda: all(self.state(pid) in ("Z", None) for pid in children.values()))

    @staticmethod
    def state(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return None


if __name__ == "__main__":
    cli.main()
