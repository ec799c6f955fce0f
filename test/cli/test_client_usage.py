#!/usr/bin/python3
"""The commands that are a server's clients, at a server that answers as each test wants, at none,
and at a strange one."""

import hashlib
import http.server
import json
import signal
import socket
import threading
import time

import cli
from ports import free_port

CLIENTS = (["submit", "x.wav"], ["status", "0" * 56], ["fetch", "0" * 56], ["queue"],
           ["rm", "0" * 56])
IDENT = "0123456789abcdef" * 3 + "01234567"


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers every request from `answers`: {(method, path without query): (status, body)}."""

    def reply(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.server.got.append((self.command, self.path, self.rfile.read(length)))
        self.server.tokens.append(self.headers.get("Authorization"))
        status, body = self.server.answers.get((self.command, self.path.split("?")[0]),
                                               (404, {"detail": "none such", "code": "not_found"}))
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", body.decode())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = reply

    def log_message(self, *_):
        pass


class Clients(cli.ServiceCase):
    def setUp(self):
        super().setUp()
        cli.make_wav(self.folder / "x.wav", 0.1)
        self.server = self.start_server()
        self.variables = {"MSAAS_SERVER": f"http://127.0.0.1:{self.server.server_port}/"}

    def start_server(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.got, server.answers, server.tokens = [], {}, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def answer(self, method, path, body, status=200):
        self.server.answers[method, path] = (status, body)

    def job(self, state="succeeded", **more):
        return {
            "id": IDENT, "state": state, "progress": 1, "position": None,
            "options": {"format": "mp3", "model": "tiny"},
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
        for body in (b"", b"<html>", b"[]", b"{}", {"id": "../../etc", "state": "succeeded"},
                     {"id": IDENT, "state": "singing"}):
            self.answer("GET", f"/apiv2/jobs/{IDENT}", body)
            self.message("status", IDENT, expect=1, **self.variables)
        self.answer("GET", f"/apiv2/jobs/{IDENT}", b"\x1b[2J", status=500)
        self.assertNotIn("\x1b", self.message("status", IDENT, expect=1, **self.variables))

    def test_submit(self):
        self.answer("POST", "/apiv2/jobs", self.job("queued"), status=202)
        out, err = self.run_msaas("submit", "--two-stems", "vocals", "--flac", "--shifts", "2",
                                  "--precision", "bf16", "x.wav")
        self.assertEqual((out, err), (IDENT + "\n", ""))
        method, path, body = self.server.got[0]
        self.assertEqual(body, (self.folder / "x.wav").read_bytes())
        asked = {"two_stems=vocals", "format=flac", "shifts=2", "precision=bf16", "name=x.wav"}
        self.assertEqual(set(path.partition("?")[2].split("&")), asked)
        # a worker's, which is none of a client's business
        self.variables["MSAAS_PRECISION"] = "float32"
        self.run_msaas("submit", "x.wav")
        self.assertEqual(self.server.got[1][1].partition("?")[2], "name=x.wav")
        self.answer("POST", "/apiv2/jobs", {"detail": "that is no song", "code": "input"},
                    status=422)
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
        self.answer("GET", f"/apiv2/jobs/{IDENT}",
                    self.job("failed", error={"code": "input", "message": "no music in it"}))
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
        path = "separated/x/vocals.mp3"
        self.assertEqual(out, path + "\n")
        self.assertEqual((self.folder / path).read_bytes(), b"music")
        out, _ = self.run_msaas("fetch", "--json", "-o", "here", IDENT)
        self.assertEqual(json.loads(out),
                         {"id": IDENT, "stems": [{"name": "vocals", "path": "here/vocals.mp3"}]})

    def test_token(self):
        """The server gets it with each request, from the environment or a file; nobody else does:
        not the S3 server that it sends a client to."""
        self.stems()
        store = self.start_server()
        store.answers["GET", "/vocals"] = (200, b"music")
        self.answer("GET", f"/apiv2/jobs/{IDENT}/stems/vocals.mp3",
                    f"http://127.0.0.1:{store.server_port}/vocals".encode(), 302)
        self.answer("DELETE", f"/apiv2/jobs/{IDENT}", b"", 204)
        self.answer("POST", "/apiv2/jobs", self.job())
        (self.folder / "token").write_text("from-a-file\n")
        self.run_msaas("fetch", "--token-file", "token", IDENT)
        self.assertEqual(self.server.tokens, ["Bearer from-a-file"] * 2)
        self.assertEqual(store.tokens, [None])
        self.variables = self.variables | {"MSAAS_TOKEN": "from-a-variable"}
        for words in (["submit", "x.wav"], ["status", IDENT], ["rm", IDENT]):
            self.server.tokens.clear()
            self.run_msaas(*words)
            self.assertEqual(self.server.tokens, ["Bearer from-a-variable"], words)
        self.server.answers.clear()
        self.answer("GET", f"/apiv2/jobs/{IDENT}", {"detail": "no", "code": "unauthorized"}, 401)
        said = self.message("status", IDENT, expect=1, **self.variables)
        self.assertIn("MSAAS_TOKEN", said)
        self.assertNotIn("from-a-variable", said)

    def test_fetch_goes_to_the_song_s_name(self):
        self.stems()
        job = self.job(stems=[{"name": "vocals", "bytes": 5}],
                       input={"name": "../../S\xf6ng: 1.mp3", "bytes": 5})
        self.answer("GET", f"/apiv2/jobs/{IDENT}", job)
        out, _ = self.run_msaas("fetch", IDENT)
        self.assertEqual(out, "separated/S\xf6ng_ 1/vocals.mp3\n")
        self.answer("GET", f"/apiv2/jobs/{IDENT}/stems.zip", b"an archive")
        out, _ = self.run_msaas("fetch", "--zip", "--wav", IDENT)
        self.assertEqual((self.folder / "separated/S\xf6ng_ 1.zip").read_bytes(), b"an archive")

    def test_mix(self):
        self.answer("GET", f"/apiv2/jobs/{IDENT}", self.job())
        self.answer("GET", f"/apiv2/jobs/{IDENT}/mix", b"a mix")
        out, _ = self.run_msaas("mix", "--gains", "vocals:-inf", IDENT)
        self.assertEqual(out, "separated/x/mix.mp3\n")
        self.run_msaas("mix", "--format", "opus", "-o", "here.opus", IDENT)
        self.assertEqual((self.folder / "here.opus").read_bytes(), b"a mix")
        out, _ = self.run_msaas("mix", "-o", "-", IDENT)
        self.assertEqual(out, "a mix")
        for words, says in ((["mix"], "name a job"), (["mix", IDENT, IDENT], "one ID"),
                            (["mix", "--json", "-o", "-", IDENT], "standard output"),
                            (["mix", "--format", "wma", IDENT], "--format")):
            self.assertIn(says, self.message(*words, expect=2, **self.variables))

    def test_fetch_what_is_not_whole(self):
        for content, more in (
            (b"musik", {}), (b"music, and more", {}), (b"mus", {}),
            (b"music", {"sha256": "0" * 64}), (b"music", {"bytes": 6}),
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
        self.answer("GET", f"/apiv2/jobs/{IDENT}",
                    self.job("failed", error={"code": "poison", "message": "three crashes"}))
        self.assertIn("three crashes", self.message("fetch", IDENT, expect=1, **self.variables))

    def test_status_and_queue_and_rm(self):
        self.answer("GET", f"/apiv2/jobs/{IDENT}",
                    self.job("running", progress=0.43, input={"name": "x\x1b.wav", "bytes": 5}))
        out, _ = self.run_msaas("status", IDENT)
        self.assertIn("running, 43 %", out)
        self.assertNotIn("\x1b", out)
        jobs = [self.job("queued", id=digit * 56, position=position)
                for digit, position in (("b", 1), ("a", 0))]
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
        other = free_port()
        self.variables = {"MSAAS_WORKER_PORT": str(port)}
        self.run_msaas("health", "--port", other)
        self.answer("GET", "/healthz", b"stuck", status=503)
        self.message("health", "--port", port, expect=1, MSAAS_WORKER_PORT=str(other))

    def test_health_of_another(self):
        url = f"http://127.0.0.1:{self.server.server_port}"
        self.answer("GET", "/readyz", b"ready")
        self.run_msaas("health", url)
        self.run_msaas("health", url + "/")
        self.answer("GET", "/readyz", b"the queue is away", status=503)
        self.assertIn(f"{url}/readyz answered with status 503: the queue is away",
                      self.message("health", url, expect=1))
        for wrong in (["ftp://x"], ["music.example"], [url, url]):
            self.message("health", *wrong, expect=2)


if __name__ == "__main__":
    cli.main()
