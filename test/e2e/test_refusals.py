"""A Redis that answers, and refuses: clients get 503 with Retry-After, the worker is not ready and
says why, the log names the cause and the remedy, a job at work is finished at its first attempt
when Redis takes it again."""

import contextlib
import re
import socketserver
import threading

import pytest
from harness import DEADLINE_S, HTTP, Redis, free_port, wait_for, wav

WAV = {"Content-Type": "audio/wav"}


@contextlib.contextmanager
def installed(make_site, tmp_path, redis, url):
    """serve and work; yields the site, whose `probe` is the worker's /readyz."""
    site = make_site({"MSAAS_QUEUE": url, "MSAAS_STORE": f"file:{tmp_path}/objects"})
    port = free_port()
    site.probe = lambda: HTTP.get(f"http://127.0.0.1:{port}/readyz", timeout=DEADLINE_S)
    try:
        site.rest = site.serve(wait=False)
        site.worker = site.start("work", "--host", "127.0.0.1", "--port", port, "--lease", 60)
        yield site
    finally:
        site.stop()
        redis.kill()


def wait_ready(site):
    site.wait_ready(site.rest)
    wait_for("the worker to be ready", lambda: site.probe().status_code == 200)


def post(site, tone):
    return site.post("/apiv2/jobs", data=wav(tone=tone), headers=WAV)


def told_jobs(site):
    return "msaas_jobs_unfinished" in site.get("/metrics").text


def check_refused(site, prefix, remedy):
    answer, = wait_for("503", lambda: [
        got for got in [post(site, 3)] if got.status_code == 503])
    assert answer.json()["code"] == "queue_unavailable", answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert prefix not in answer.text  # how Redis is set up is not the client's business
    assert told_jobs(site) == (prefix == "NOREPLICAS"), "what cannot be read now is not told"
    reason = wait_for("the worker to be unready", lambda: next(
        (got.text for got in [site.probe()] if got.status_code == 503 and prefix in got.text),
        None))
    assert remedy in reason
    for process in (site.rest, site.worker):
        wait_for(f"{prefix} in the log",
                 lambda process=process: re.search(f"{prefix}.*{remedy}", process.text()))


# What begins the refusal, what ends it, what Redis says, what is to be done about it.
REFUSALS = {
    "maxclients": (["config set maxclients 1", "client kill type normal skipme yes"],
                   ["config set maxclients 1000"], "max number of clients", "maxclients"),
    "no password": (["config set requirepass s3cret", "client kill type normal skipme yes"],
                    ["config set requirepass", "auth s3cret"], "NOAUTH", "password"),
    "wrong password": (["acl setuser msaas resetpass >other",
                        "client kill type normal skipme yes"],
                       ["acl setuser msaas resetpass >s3cret"], "WRONGPASS", "password"),
    "no replicas": (["config set min-replicas-to-write 1"],
                    ["config set min-replicas-to-write 0"], "NOREPLICAS",
                    "min-replicas-to-write"),
}


def tell(client, commands):
    for command in commands:
        words = command.split()
        if words[-1] == "requirepass":
            words.append("")
        client.execute_command(*words)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_redis_that_refuses(name, make_site, tmp_path):
    begin, end, prefix, remedy = REFUSALS[name]
    redis = Redis(tmp_path / "redis").start()
    with redis.client(single_connection_client=True) as client:
        url = redis.url
        if name == "wrong password":
            client.execute_command("acl", "setuser", "msaas", "on", ">s3cret", "~*", "&*", "+@all")
            url = url.replace("redis://", "redis://msaas:s3cret@")
        with installed(make_site, tmp_path, redis, url) as site:
            wait_ready(site)
            ident = site.submit(wav(60, tone=1))["id"]
            site.wait_state(ident, "running")
            assert told_jobs(site)
            tell(client, begin)
            check_refused(site, prefix, remedy)
            tell(client, end[:1])
            wait_ready(site)
            assert site.finished(ident)["attempts"] == 1
            assert site.worker.running() and site.rest.running()
            site.finished(site.submit(wav(tone=2))["id"])


def test_protected_mode(make_site, tmp_path):
    """Redis' words for those who come from elsewhere; here nobody does."""
    redis = Redis(tmp_path / "redis")

    class Refuse(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(b"-DENIED Redis is running in protected mode because protected "
                                 b"mode is enabled and no password is set. In this mode ...\r\n")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    server = Server(("127.0.0.1", redis.port), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with installed(make_site, tmp_path, redis, redis.url) as site:
        check_refused(site, "DENIED", "requirepass")
        server.shutdown()
        server.server_close()
        redis.start()
        wait_ready(site)
        site.finished(site.submit(wav())["id"])
