"""Accounts as operators and users meet them: the file of tokens and its command, a service that
wants tokens, what guesses cost it, and what reaches its logs: no secret."""

import json
import re
import stat
import subprocess
import threading

import pytest
import requests
from harness import DEADLINE_S, HTTP, MSAAS, wait_for, wav
from ports import free_port

CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Guarded:
    """A site whose `serve` wants tokens. secrets: all that must never be logged."""

    def __init__(self, site):
        self.site, self.file, self.secrets = site, site.folder / "tokens.json", []
        self.admin_url = f"http://127.0.0.1:{free_port()}"

    def token(self, *words, **options):
        return self.site.run("token", *words, "--tokens", self.file, **options)

    def add(self, name, *options):
        self.secrets.append(self.token("add", name, *options).strip())
        return self.secrets[-1]

    def replace(self, text):
        """Makes it the file at once: nobody reads an empty one, or half of it."""
        other = self.file.with_name("tokens.new")
        other.write_text(text)
        other.chmod(0o600)
        other.replace(self.file)

    def serve(self, *options, **more):
        return self.site.serve("--tokens", self.file, "--admin-port",
                               self.admin_url.rpartition(":")[2], "--log-level", "debug", *options,
                               **more)

    def ask(self, token, path="/apiv2/jobs", method="GET", url=None, **options):
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        return HTTP.request(method, (url or self.site.url) + path, headers=headers,
                            timeout=DEADLINE_S, **options)

    def checks(self):
        """{verdict: how often}"""
        page = HTTP.get(self.admin_url + "/metrics", timeout=DEADLINE_S).text
        found = re.findall(r'^msaas_token_checks_total\{verdict="(\w+)"\} (\d+)$', page, re.M)
        return {verdict: int(count) for verdict, count in found}

    def check_logs(self):
        document = json.loads(self.file.read_text())
        secrets = self.secrets + [document["key"]]
        for token in document["tokens"]:
            secrets += [token["hash"], token["lookup"]]
        logs = "".join(process.text() for process in self.site.processes)
        assert "/apiv2/jobs" in logs
        for secret in secrets:
            assert secret and secret not in logs


@pytest.fixture
def guarded(make_embedded):
    site = make_embedded()
    yield Guarded(site)
    site.stop()


# ---- the command ----

def test_the_file_holds_no_token(guarded):
    ann = guarded.add("ann", "--max-waiting", 20, "--expires", 90)
    boss = guarded.add("boss", "--scopes", "admin")
    assert re.fullmatch(r"msaas_[\w-]{43}", ann) and ann != boss
    assert stat.S_IMODE(guarded.file.stat().st_mode) == 0o600
    text = guarded.file.read_text()
    assert ann not in text and ann[6:] not in text
    listed = guarded.token("list")
    assert [line.split()[0] for line in listed.splitlines()] == ["ann", "boss"]
    assert "20 waiting" in listed and "submit,read" in listed and "expires 20" in listed
    assert "msaas_" not in listed and "scrypt" not in listed
    rows = [json.loads(line) for line in guarded.token("list", "--json").splitlines()]
    assert [row["scopes"] for row in rows] == ["submit,read", "admin"]
    guarded.token("add", "ann", expect=1)
    guarded.token("add", "Ann", expect=2)
    guarded.token("add", "eve", "--scopes", "root", expect=2)
    guarded.token("revoke", "eve", expect=1)
    guarded.token("revoke", "ann")
    assert [line.split()[0] for line in guarded.token("list").splitlines()] == ["boss"]
    assert {path.name for path in guarded.site.folder.iterdir()} >= {"tokens.json"}
    assert not list(guarded.site.folder.glob(".tokens-*"))


def test_many_at_the_same_time_lose_nothing(guarded):
    names = [f"user{n}" for n in range(12)]
    threads = [threading.Thread(target=guarded.add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listed = [line.split()[0] for line in guarded.token("list").splitlines()]
    assert sorted(listed) == sorted(names)


# ---- the service ----

def test_only_tokens_may_ask(guarded):
    site = guarded.site
    ann, boss = guarded.add("ann"), guarded.add("boss", "--scopes", "admin")
    guarded.serve()
    site.work()
    for path in ("/", "/healthz", "/readyz"):
        assert site.get(path).status_code == 200
    for path in ("/apiv2/jobs", "/apiv2/models", "/apiv1/queue", "/metrics"):
        answer = site.get(path)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="msaas"'
    assert guarded.ask(ann, "/metrics").status_code == 403
    assert guarded.ask(boss, "/metrics").status_code == 200
    assert guarded.ask(ann, "/apiv1/queue").status_code == 200

    song, secret = site.folder / "song.wav", site.folder / "ann.token"
    song.write_bytes(wav())
    secret.write_text(ann + "\n")
    mine = {"MSAAS_TOKEN": ann}
    site.run("submit", song, expect=1)
    ident = json.loads(site.run("submit", song, "--wait", "--json", env=mine))["id"]
    site.run("status", ident, env=mine)
    site.run("queue", "--token-file", secret)
    assert "drums" in site.run("fetch", ident, "--token-file", secret)
    site.run("fetch", ident, "-o", "elsewhere", expect=1)
    assert "***" in site.run("config", "submit", env=mine)
    site.run("rm", ident, env=mine)
    guarded.check_logs()


def test_the_log_names_the_account(guarded):
    ann, eye = guarded.add("ann"), guarded.add("eye", "--scopes", "read")
    serve = guarded.serve()
    session = guarded.ask(ann, "/apiv2/session", "POST").cookies["msaas_session"]
    HTTP.cookies.clear()
    guarded.secrets.append(session)

    def line(request, status, **headers):
        answer = requests.request(
            "POST" if status == 403 else "GET", guarded.site.url + "/apiv2/jobs",
            headers=headers | {"X-Request-Id": request}, timeout=DEADLINE_S)
        assert answer.status_code == status
        return wait_for("the line", lambda: re.search(f"^.* request={request}.*$", serve.text(),
                                                      re.MULTILINE))[0]

    assert line("one", 200, Authorization=f"Bearer {ann}").endswith(" account=ann")
    assert line("two", 200, Cookie=f"msaas_session={session}").endswith(" account=ann")
    assert line("three", 403, Authorization=f"Bearer {eye}").endswith(" account=eye")
    assert "account=" not in line("four", 401, Authorization=f"Bearer {ann}x")
    assert "account=" not in line("five", 401)
    guarded.check_logs()


def test_a_token_on_the_command_line_is_refused_and_not_repeated(guarded):
    ann = guarded.add("ann")
    for words in (("--token", ann), (f"--token={ann}",)):
        done = subprocess.run([MSAAS, "queue", *words], capture_output=True, text=True,
                              timeout=DEADLINE_S, check=False, env=guarded.site.environment())
        assert done.returncode == 2 and "MSAAS_TOKEN" in done.stderr
        assert ann not in done.stdout + done.stderr
    done = subprocess.run([MSAAS, "queue"], capture_output=True, text=True, timeout=DEADLINE_S,
                          check=False, env=guarded.site.environment(MSAAS_TOKEN=f"{ann}\r\nX: y"))
    assert done.returncode == 2 and ann not in done.stdout + done.stderr


def test_the_file_is_read_again(guarded):
    ann, short = guarded.add("ann"), guarded.add("short", "--expires", 1 / 86400)
    serve = guarded.serve()
    assert guarded.ask(ann).status_code == 200
    wait_for("a token to expire", lambda: guarded.ask(short).status_code == 401)
    bob = guarded.add("bob")
    assert wait_for("the new token", lambda: guarded.ask(bob).status_code == 200)

    good = guarded.file.read_text()
    guarded.replace(good[: len(good) // 2])
    wait_for("the fault to be logged", lambda: "were not read again" in serve.text())
    assert str(guarded.file) in serve.text()
    assert guarded.ask(ann).status_code == guarded.ask(bob).status_code == 200
    before = serve.text().count("were read again")
    guarded.replace(good)
    wait_for("the good file", lambda: serve.text().count("were read again") > before)

    guarded.token("revoke", "ann")
    wait_for("ann to be revoked", lambda: guarded.ask(ann).status_code == 401)
    assert guarded.ask(bob).status_code == 200
    assert serve.text().count("were not read again") == 1
    guarded.check_logs()


def test_a_wrong_file_is_told_at_the_start(guarded):
    for text in (None, "{}", '{"key": "'):
        if text is not None:
            guarded.file.write_text(text)
        process = guarded.serve(wait=False)
        assert process.wait() == 2
        assert "--tokens" in process.text() and str(guarded.file) in process.text()


def test_guesses_cost_no_scrypt(guarded):
    """How near a guess is changes nothing: each is one HMAC, and no run of scrypt."""
    ann = guarded.add("ann")
    guarded.serve()
    assert guarded.ask(ann).status_code == 200
    before = guarded.checks()
    assert before["proven"] == 1
    guesses = [ann[:at] + CHARS[CHARS.index(ann[at]) ^ 32] + ann[at + 1:] for at in range(6, 49)]
    guesses += ["", "x", "msaas_", ann[:-1], ann + "A", ann.upper(), "a" * 5000, "ann"]
    bodies = {guarded.ask(guess).text for guess in guesses}
    assert len(bodies) <= 2  # "unknown", and "this needs a token" for the empty one
    for _ in range(50):
        assert guarded.ask(ann).status_code == 200
    after = guarded.checks()
    assert after["proven"] == 1
    assert after["known"] - before["known"] == 50
    assert after["unknown"] - before["unknown"] == len(guesses)
    guarded.check_logs()


# ---- sessions ----

def test_a_session_holds_on_every_replica(guarded):
    ann = guarded.add("ann", "--scopes", "read")
    guarded.serve()
    other = guarded.site.serve("--tokens", guarded.file, port=free_port())
    answer = guarded.ask(ann, "/apiv2/session", "POST")
    assert answer.status_code == 200 and answer.json()["name"] == "ann"
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    session = answer.cookies["msaas_session"]
    HTTP.cookies.clear()
    guarded.secrets.append(session)

    def by_cookie(url, method="GET", path="/apiv2/jobs", **headers):
        return requests.request(method, url + path, timeout=DEADLINE_S,
                                headers={"Cookie": f"msaas_session={session}"} | headers)

    for url in (guarded.site.url, other.url):
        assert by_cookie(url).status_code == 200
        assert by_cookie(url, Origin="http://evil.example").status_code == 403
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert by_cookie(url, **foreign).status_code == 403
        assert by_cookie(url, "POST", Origin=url).status_code == 403  # its scope is read
    assert by_cookie(guarded.site.url, "DELETE", "/apiv2/session").status_code == 204
    guarded.token("revoke", "ann")
    for url in (guarded.site.url, other.url):
        wait_for("the session to end with its token",
                 lambda url=url: by_cookie(url).status_code == 401)
    guarded.check_logs()


# ---- /apiv1, up, and no tokens ----

def test_apiv1_is_open_or_off(guarded):
    guarded.add("ann")
    guarded.serve("--apiv1", "open")
    guarded.site.work()
    ident = guarded.site.separate(wav())
    wait_for("the track", lambda: guarded.site.get(f"/apiv1/track/{ident}/bass").status_code == 200)
    assert guarded.site.get("/apiv2/jobs").status_code == 401
    off = guarded.site.serve("--apiv1", "off", port=free_port())
    assert HTTP.get(off.url + "/apiv1/queue", timeout=DEADLINE_S).status_code == 404
    assert HTTP.get(off.url + "/apiv2/jobs", timeout=DEADLINE_S).status_code == 200


def test_up_takes_tokens(guarded):
    ann = guarded.add("ann")
    guarded.site.up("--tokens", guarded.file)
    assert guarded.site.get("/apiv2/jobs").status_code == 401
    assert guarded.ask(ann).status_code == 200


def test_serve_warns_when_others_may_ask(guarded):
    warning = "nobody needs a token"
    assert warning in guarded.site.serve("--host", "0.0.0.0").text()
    assert warning not in guarded.site.serve(port=free_port()).text()
    guarded.add("ann")
    guarded.site.port = free_port()
    assert warning not in guarded.serve("--host", "0.0.0.0").text()
