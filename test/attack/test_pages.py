"""A web page of anybody in a browser of this machine: by its own origin, and by a name that it
points at 127.0.0.1."""

import socket

import pytest
from harness import DEADLINE_S, HTTP, wav
from ports import free_port

EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def site(make_embedded):
    made = make_embedded()
    made.admin = free_port()
    made.up("--admin-port", made.admin, "--allowed-hosts", "music.example")
    yield made
    made.stop()


def ask(port, method, path, body=b"", **headers):
    """The status, and whether the answer lets pages of other origins read it."""
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as peer:
        peer.sendall(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n{head}"
                     f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while piece := peer.recv(65536):
            answer += piece
    assert b"access-control-allow" not in answer.lower(), answer
    return int(answer.split()[1])


def test_pages_of_other_origins_are_refused(site):
    host = f"localhost:{site.port}"
    form = {"Content_Type": "audio/wav"}
    others = (EVIL, "null", "http://localhost", f"http://localhost:{site.admin}",
              f"https://localhost.evil.example:{site.port}")
    for origin in others:
        assert ask(site.port, "POST", "/apiv2/jobs", wav(), Host=host, Origin=origin, **form) == 403
        assert ask(site.port, "POST", "/apiv1/separate", b"{}", Host=host, Origin=origin) == 403
        assert ask(site.port, "OPTIONS", "/apiv2/jobs", Host=host, Origin=origin) == 403
        assert ask(site.port, "GET", "/apiv1/queue", Host=host, Origin=origin) == 403
        assert ask(site.admin, "GET", "/metrics", Host=host, Origin=origin) == 403
    # Nobody is trusted to speak for another.
    assert ask(site.port, "GET", "/apiv1/queue", Host=host, Origin=EVIL,
               X_Forwarded_Host="evil.example", X_Forwarded_For="127.0.0.1") == 403
    assert site.get("/apiv2/jobs").json()["jobs"] == []
    own = f"http://{host}"
    assert ask(site.port, "POST", "/apiv2/jobs", wav(), Host=host, Origin=own, **form) == 202
    assert ask(site.port, "POST", "/apiv2/jobs", wav(), Host=host, **form) in (200, 202)


def test_names_that_point_here_are_refused(site):
    for port in (site.port, site.admin):
        for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}",
                     f"[::1].evil.example:{port}", f"0.0.0.0:{port}", ""):
            assert ask(port, "GET", "/healthz", Host=host) == 421
            assert ask(port, "GET", "/healthz", Host=host, Origin=f"http://{host}") == 421
        for host in (f"localhost:{port}", f"127.0.0.1:{port}", "[::1]", "Music.example:81"):
            assert ask(port, "GET", "/healthz", Host=host) == 200


def test_pages_that_are_let_in_cannot_remove_by_get(make_embedded):
    """--cors-origins opens the API to a page, but not what an image could do."""
    friend = "https://friend.example"
    site = make_embedded()
    site.up("--cors-origins", friend)
    job = site.finished(site.submit(wav(tone=2), stems="bass")["id"])
    path = f"/apiv2/jobs/{job['id']}"
    seen = site.get(path, headers={"Origin": friend})
    assert seen.status_code == 200
    assert seen.headers["Access-Control-Allow-Origin"] == friend
    assert "Access-Control-Allow-Credentials" not in seen.headers
    assert "Location" in seen.headers["Access-Control-Expose-Headers"]
    for headers in ({"Origin": friend}, {"Origin": EVIL}, {"Sec-Fetch-Site": "cross-site"}):
        for call in (site.get, site.delete):
            answer = call(f"/apiv1/remove/{job['id']}/bass", headers=headers)
            assert answer.status_code == 403, headers
    assert site.get(path, headers={"Origin": EVIL}).status_code == 403
    assert len(site.job(job["id"])["stems"]) == 1
    asked = HTTP.options(site.url + path, timeout=DEADLINE_S, headers={
        "Origin": friend, "Access-Control-Request-Method": "DELETE"})
    assert asked.status_code == 204 and asked.headers["Access-Control-Allow-Methods"] == "DELETE"
    assert site.delete(path, headers={"Origin": friend}).status_code == 204
    site.stop()
