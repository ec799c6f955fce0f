"""What operators rely on: starts in any order, stops without loss, probes, logs, metrics."""

import json
import re
import signal
import socket

import pytest
import requests
from harness import DEADLINE_S, HTTP, Redis, wait_for, wav
from ports import free_port


def metrics(url):
    """{name{labels}: value}; every line must be of Prometheus' text format."""
    answer = HTTP.get(url + "/metrics", timeout=DEADLINE_S)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
    values, kinds = {}, {}
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds and kind in ("counter", "gauge", "histogram"), line
            kinds[name] = kind
        elif not line.startswith("#"):
            label = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
            match = re.fullmatch(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{{{label}(?:,{label})*\}})? (\S+)",
                                 line)
            assert match, line
            assert match[1] in kinds or re.sub("_(bucket|sum|count)$", "", match[1]) in kinds, line
            values[match[1] + (match[2] or "")] = float(match[3])
    return values


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_serve_and_work_wait_for_redis_and_its_return(make_site, tmp_path):
    redis = Redis(tmp_path / "redis")
    site = make_site({"MSAAS_QUEUE": redis.url, "MSAAS_STORE": f"file:{tmp_path}/objects"})
    port = free_port()
    try:
        serve = site.serve(wait=False)
        worker = site.start("work", "--host", "127.0.0.1", "--port", port, "--lease", 2)
        for url in (site.url, f"http://127.0.0.1:{port}"):
            wait_for("healthz without Redis",
                     lambda url=url: HTTP.get(url + "/healthz",
                                              timeout=DEADLINE_S).status_code == 200)
        assert HTTP.get(site.url + "/", timeout=DEADLINE_S).status_code == 200

        def check_503():
            for answer in (site.get("/readyz"), site.get("/apiv1/queue"),
                           site.post("/apiv2/jobs", data=wav(),
                                     headers={"Content-Type": "audio/wav"})):
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["Retry-After"]) > 0
                assert "json" in answer.headers["Content-Type"]

        check_503()
        redis.start()
        site.wait_ready(serve)
        site.finished(site.submit(wav(tone=1))["id"])

        redis.kill()
        check_503()
        assert site.get("/healthz").status_code == 200
        redis.start()
        site.wait_ready(serve)
        site.finished(site.submit(wav(tone=2))["id"])
        assert serve.running() and worker.running()
        assert "edis" in worker.text()  # says what it waited for
    finally:
        site.stop()
        redis.kill()


def test_redis_that_may_lose_jobs_is_named(make_site, tmp_path):
    redis = Redis(tmp_path / "redis").start()
    with redis.client() as client:
        client.config_set("appendonly", "no")
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    site = make_site({"MSAAS_QUEUE": redis.url, "MSAAS_STORE": f"file:{tmp_path}/objects"})
    try:
        serve = site.serve()
        wait_for("the warning",
                 lambda: re.search("evict|noeviction|allkeys-lru|persist", serve.text()))
    finally:
        site.stop()
        redis.kill()


@pytest.mark.parametrize("kind", ["embedded", "scaled"])
def test_logs_and_metrics(kind, request):
    site = request.getfixturevalue(f"make_{kind}")()
    port = free_port()
    try:
        site.serve(env={"MSAAS_LOG_FORMAT": "json"} if kind == "scaled" else {})
        site.start("work", "--host", "127.0.0.1", "--port", port)
        idents = [site.submit(wav(tone=1, tag=n))["id"] for n in range(3)]
        for ident in idents:
            site.finished(ident)
        values = metrics(site.url)
        assert values['msaas_jobs{state="succeeded"}'] == 3
        assert values["msaas_queue_depth"] == 0
        assert values['msaas_http_requests_total{route="/apiv2/jobs",code="202"}'] == 3
        assert values["msaas_http_connections"] >= 1
        worker = f"http://127.0.0.1:{port}"
        wait_for("the worker's metrics",
                 lambda: metrics(worker).get('msaas_jobs_finished_total{state="succeeded"}') == 3)
        wait_for("the length of them all",
                 lambda: metrics(worker)["msaas_audio_seconds_total"] > 1)
        assert HTTP.get(worker + "/healthz", timeout=DEADLINE_S).status_code == 200
        assert HTTP.get(worker + "/apiv1/queue", timeout=DEADLINE_S).status_code == 404

        logs = site.start("logs")
        wait_for("the worker's lines",
                 lambda: all(re.search(rf"worker.*job done.*{ident}", logs.text())
                             for ident in idents))
        assert re.search(r"^\S+\.rest\.info:", logs.text(), re.M), logs.text()
        assert re.findall(r"worker.*job done.*?([0-9a-f]{56})", logs.text()) == idents  # in order
        assert logs.terminate() == 0

        for tag, options in enumerate((["--json"], ["--log-format", "json"])):
            as_json = site.start("logs", *options)
            ident = site.submit(wav(tone=2, tag=tag))["id"]
            site.finished(ident)
            wait_for("lines as JSON", lambda: f"job done job={ident}" in as_json.text())
            assert as_json.terminate() == 0
            lines = [json.loads(line) for line in as_json.text().splitlines()
                     if options[0] == "--log-format" or line.startswith("{")]
            done, = [line for line in lines if f"job done job={ident}" in line["message"]]
            assert list(done) == ["time", "level", "role", "host", "message"]
            assert (done["level"], done["role"]) == ("info", "worker")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z", done["time"])
    finally:
        site.stop()


def test_sigterm_of_serve_drains(make_embedded):
    site = make_embedded()
    try:
        serve = site.serve()
        song = wav(20, rate_hz=16000)
        with socket.create_connection(("127.0.0.1", site.port), DEADLINE_S) as slow:
            head = ("POST /apiv2/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\n"
                    f"Content-Length: {len(song)}\r\n\r\n")
            slow.sendall(head.encode() + song[:100_000])
            # Only once the server holds the request is it one "at work".
            wait_for("the connection", lambda: metrics(site.url)["msaas_http_connections"] >= 2)
            serve.signal(signal.SIGTERM)

            def unready():
                try:
                    with requests.Session() as fresh:
                        fresh.trust_env = False
                        return fresh.get(site.url + "/readyz",
                                         timeout=DEADLINE_S).status_code == 503
                except requests.ConnectionError:
                    return True

            wait_for("readiness to fail", unready)
            slow.sendall(song[100_000:])
            answer = slow.recv(65536)
            assert answer.startswith(b"HTTP/1.1 202"), answer
        assert serve.wait() == 0
        assert not listens(site.port)
    finally:
        site.stop()


def test_sigterm_of_work_puts_the_job_back_or_finishes_it(make_embedded):
    site = make_embedded()
    try:
        site.serve()
        worker = site.work(grace_s=0)
        long = site.submit(wav(900, tone=1))["id"]
        site.wait_state(long, "running")
        assert worker.terminate() == 0
        job = site.job(long)
        assert job["state"] == "queued" and not job.get("error"), job
        assert site.get("/apiv1/queue").json()["queue"] == [long]
        site.delete(f"/apiv2/jobs/{long}")

        worker = site.work(grace_s=DEADLINE_S)
        middle = site.submit(wav(60, tone=2))["id"]
        site.wait_state(middle, "running")
        assert worker.terminate() == 0
        assert site.job(middle)["state"] == "succeeded"
    finally:
        site.stop()


def test_up_stops_at_once(make_site):
    site = make_site({})
    try:
        up = site.up("--workers", 1)
        site.finished(site.submit(wav())["id"])
        assert up.terminate() == 0
        # What was done is still there after a restart.
        site.up("--workers", 1)
        jobs = site.get("/apiv2/jobs").json()["jobs"]
        assert len(jobs) == 1
        site.check_result(jobs[0])
    finally:
        site.stop()


def test_up_outlives_a_job_that_hangs(make_site):
    site = make_site({})
    try:
        up = site.up("--workers", 1,
                     env={"MSAAS_FAULT": "hang@mid-decode", "MSAAS_STALL": "1", "MSAAS_LEASE": "1"})
        job = site.wait_state(site.submit(wav())["id"], "failed", "succeeded")
        assert job["error"]["code"] == "poison"
        assert up.running() and "its job is stuck" in up.text()
        assert up.terminate() == 0
    finally:
        site.stop()


def test_wrong_options_are_told(make_site):
    site = make_site({})
    for command in (("serve", "--port", "99999999"), ("serve", "--queue", "ftp://x"),
                    ("work", "--store", "what:"), ("serve", "--colour")):
        site.run(*command, expect=2)
