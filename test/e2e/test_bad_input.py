"""Bad input: the right status, a reason in JSON, and nothing stored or queued."""

import base64
import json
import socket

import pytest
from harness import DEADLINE_S, HTTP, files_under, mp3, wav

GOOD = base64.b64encode(wav()).decode()


@pytest.fixture(scope="module")
def site(make_embedded):
    made = make_embedded()
    made.serve()
    yield made
    made.stop()


def objects(site):
    return files_under(site.data / "objects")


@pytest.fixture(autouse=True)
def nothing_is_kept(site):
    before = objects(site)
    yield
    assert site.get("/apiv1/queue").json() == {"queue": []}
    assert objects(site) == before


def raw(site, data, half_close=False):
    """Bytes as they are; returns (status, head, body)."""
    with socket.create_connection(("127.0.0.1", site.port), DEADLINE_S) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while True:
            try:
                more = connection.recv(65536)
            except ConnectionResetError:
                break
            if not more:
                break
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin-1").lower(), body


def check_reason(answer, status, v2=False):
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    kind = answer.headers["Content-Type"].split(";")[0]
    if v2:
        assert kind == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status and problem["code"] and (problem.get("detail")
                                                                    or problem["title"])
    else:
        assert kind == "application/json"
        assert answer.json()["reason"]


NOT_AUDIO = [b"<!DOCTYPE html><html></html>", b"%PDF-1.7\n1 0 obj", b"PK\x03\x04" + b"\0" * 60,
             b"hello, this is text",
             b"\x89PNG\r\n\x1a\n" + b"\0" * 60, b"\x7fELF" + b"\0" * 60, b"\0" * 4096]

SEPARATE = {
    "no body": (b"", 400),
    "no JSON": (b"mp3=abc", 400),
    "half JSON": (b'{"mp3": "AAAA"', 400),
    "two values": (b'{"mp3": "AAAA"} {}', 400),
    "null": (b"null", 400),
    "a list": (b"[]", 400),
    "deep": (b"[" * 100000, 400),
    "no mp3": (b"{}", 400),
    "mp3 is null": (b'{"mp3": null}', 400),
    "mp3 is a number": (b'{"mp3": 7}', 400),
    "mp3 is a list": (b'{"mp3": ["AAAA"]}', 400),
    "bad base64": (b'{"mp3": "@@@@"}', 400),
    "cut base64": (b'{"mp3": "QUJDR"}', 400),
    "not UTF-8": (b'{"mp3": "\xff\xfe"}', 400),
    "empty audio": (b'{"mp3": ""}', (400, 422)),
    "unknown model": (json.dumps({"mp3": GOOD, "model": "nobody"}).encode(), 422),
    "model's name is a path": (json.dumps({"mp3": GOOD, "model": "../../etc/passwd"}).encode(),
                               422),
    "model's type": (json.dumps({"mp3": GOOD, "model": 3}).encode(), 400),
    "callback's type": (json.dumps({"mp3": GOOD, "callback": ["http://localhost/"]}).encode(), 400),
    "callback without URL": (json.dumps({"mp3": GOOD, "callback": {"data": 1}}).encode(), 400),
    "callback's URL's type": (json.dumps({"mp3": GOOD, "callback": {"url": 1}}).encode(), 400),
}
for _url in ("file:///etc/passwd", "gopher://localhost/", "localhost:5000", "http://", "",
             "http://a b/", "ftp://localhost/",
             "http://localhost\r\nX: y/", "javascript:alert(1)", "http://localhost:99999/",
             "http://" + "a" * 5000):
    _body = json.dumps({"mp3": GOOD, "callback": {"url": _url}}).encode()
    SEPARATE[f"callback to {_url[:30]!r}"] = (_body, (400, 422))
for _bytes in NOT_AUDIO:
    _body = json.dumps({"mp3": base64.b64encode(_bytes).decode()}).encode()
    SEPARATE[f"not audio: {_bytes[:6]!r}"] = (_body, 422)


@pytest.mark.parametrize("body,status", SEPARATE.values(), ids=SEPARATE.keys())
def test_separate(site, body, status):
    answer = site.post("/apiv1/separate", data=body, headers={"Content-Type": "application/json"})
    statuses = status if isinstance(status, tuple) else (status,)
    assert answer.status_code in statuses, f"{answer.status_code} {answer.text}"
    check_reason(answer, answer.status_code)


NAMES = ["x", "0" * 55, "0" * 57, "A" * 56, "g" * 56, "%2e%2e", "..%2f..%2fetc", "%00" + "0" * 55,
         "0" * 56 + "%00", "a" * 10240,
         "%ff" * 20, "0" * 55 + "%20", "%2e%2e%2f" * 4, "'%20or%201=1--", "*"]
LABELS = ["bas", "bass.wav", "%2e%2e", "bass.mp3.mp3", "b%00ass", "x" * 10240, "..%2fbass", ".mp3",
          "%0d%0aX:%20y", "*"]


@pytest.mark.parametrize("name", NAMES, ids=[name[:20] for name in NAMES])
@pytest.mark.parametrize("path",
                         ["/apiv1/track/{}/bass", "/apiv1/remove/{}/bass", "/apiv2/jobs/{}",
                          "/apiv2/jobs/{}/events",
                                  "/apiv2/jobs/{}/stems/bass.mp3"])
def test_hashes(site, path, name):
    answer = site.get(path.format(name))
    assert answer.status_code in (400, 404, 414), answer.text
    check_reason(answer, answer.status_code, v2="apiv2" in path)


@pytest.mark.parametrize("label", LABELS, ids=[label[:20] for label in LABELS])
@pytest.mark.parametrize("call", ["track", "remove"])
def test_tracks(site, call, label):
    answer = site.get(f"/apiv1/{call}/{'0' * 56}/{label}")
    assert answer.status_code in (400, 404, 414), answer.text
    check_reason(answer, answer.status_code)


def test_paths_do_not_climb(site):
    for path in ("/apiv1/track/../../etc/passwd", "/../etc/passwd", "/apiv1//queue",
                 "/%2e%2e/%2e%2e/etc/passwd", "/\x01", "//"):
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        status, head, body = raw(site, request.encode())
        assert status in (400, 404), (path, status)
        assert "json" in head and json.loads(body), (path, head)


METHODS = {"/apiv1/separate": ("GET", "POST"), "/apiv1/queue": ("POST", "GET"),
           "/apiv1/track/" + "0" * 56 + "/bass": ("PUT", "GET"),
           "/apiv1/remove/" + "0" * 56 + "/bass": ("POST", "DELETE"),
           "/apiv2/jobs": ("PUT", "POST"), "/healthz": ("POST", "GET"),
           "/apiv2/models": ("DELETE", "GET"), "/metrics": ("DELETE", "GET")}


@pytest.mark.parametrize("path,method,allowed", [(path, *pair) for path, pair in METHODS.items()],
                         ids=list(METHODS))
def test_wrong_method(site, path, method, allowed):
    answer = HTTP.request(method, site.url + path, timeout=DEADLINE_S)
    check_reason(answer, 405, v2="apiv2" in path)
    assert allowed in [word.strip() for word in answer.headers["Allow"].split(",")]


def test_unsupported_media_type(site):
    for kind in ("text/plain", "application/xml", "image/png"):
        check_reason(site.post("/apiv2/jobs", data=wav(), headers={"Content-Type": kind}), 415,
                     v2=True)
    check_reason(site.post("/apiv1/separate", data=wav(), headers={"Content-Type": "audio/wav"}),
                 415)


def test_too_large(site):
    """The body is refused by its length, before it is sent."""
    for path, v2 in (("/apiv1/separate", False), ("/apiv2/jobs", True)):
        kind = "audio/wav" if v2 else "application/json"
        status, head, body = raw(site,
                                 f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
                                 f"Content-Type: {kind}\r\n"
                                 "Content-Length: 999999999999\r\n\r\n".encode())
        assert status == 413, head
        said = json.loads(body)
        assert said["code"] if v2 else said["reason"]
    check_reason(site.get("/apiv1/queue", data=b"x" * 200_000), 413)


FRAMING = {
    "two lengths": "Content-Length: 2\r\nContent-Length: 3\r\n\r\nnull",
    "length and chunked": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "4\r\nnull\r\n0\r\n\r\n",
    "other coding": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": "Content-Length: -1\r\n\r\n",
    "signed length": "Content-Length: +4\r\n\r\nnull",
    "hexadecimal length": "Content-Length: 0x4\r\n\r\nnull",
    "huge length": "Content-Length: 99999999999999999999999999\r\n\r\n",
    "blank before colon": "Content-Length : 4\r\n\r\nnull",
    "folded header": "X-A: b\r\n c: d\r\n\r\n",
    "no colon": "nonsense\r\n\r\n",
    "bare LF in chunks": "Transfer-Encoding: chunked\r\n\r\n4\nnull\n0\n\n",
    "bad chunk size": "Transfer-Encoding: chunked\r\n\r\nzz\r\nnull\r\n0\r\n\r\n",
    "huge chunk size": "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "NUL in a header": "X-A: b\0c\r\n\r\n",
    "two hosts": "Host: y\r\n\r\n",
}


@pytest.mark.parametrize("rest", FRAMING.values(), ids=FRAMING.keys())
def test_ambiguous_framing_is_answered_and_closed(site, rest):
    request = f"GET /apiv1/queue HTTP/1.1\r\nHost: localhost\r\n{rest}"
    status, head, _ = raw(site, request.encode("latin-1"))
    assert status in (400, 413, 501), head
    assert "connection: close" in head


def test_oversized_headers(site):
    many = "".join(f"X-{n}: y\r\n" for n in range(20_000))
    for head in (f"GET /apiv1/queue HTTP/1.1\r\nHost: localhost\r\nX-Long: {'y' * 70_000}\r\n\r\n",
                 f"GET /apiv1/queue HTTP/1.1\r\nHost: localhost\r\n{many}\r\n",
                 f"GET /{'y' * 70_000} HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        status, answer, _ = raw(site, head.encode())
        assert status in (400, 414, 431), answer


def test_chunked_body_is_fine_and_bounded(site):
    body = b"null"
    head = ("GET /apiv1/queue HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            "Transfer-Encoding: chunked\r\n\r\n")
    status, _, answer = raw(site, head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert status == 200 and b'"queue"' in answer


def test_not_http(site):
    for noise in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50 + b"\r\n\r\n",
                  b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                  b"GET / HTTP/1.1\r\n\r\n"):
        status, _, _ = raw(site, noise, half_close=True)
        assert 400 <= status < 600, (noise, status)


JOBS = {
    "empty": ({"data": b""}, (400, 422)),
    "not audio": ({"data": b"plain text, and nothing else"}, 422),
    "unknown model": ({"data": wav(), "params": {"model": "nobody"}}, 422),
    "unknown stem": ({"data": wav(), "params": {"stems": "vocals,kazoo"}}, (400, 422)),
    "unknown two stems": ({"data": wav(), "params": {"two_stems": "kazoo"}}, (400, 422)),
    "unknown format": ({"data": wav(), "params": {"format": "exe"}}, (400, 422)),
    "unknown option": ({"data": wav(), "params": {"colour": "blue"}}, (400, 422)),
    "shifts is no number": ({"data": wav(), "params": {"shifts": "many"}}, (400, 422)),
    "too many shifts": ({"data": wav(), "params": {"shifts": "1000000"}}, (400, 422)),
    "overlap": ({"data": wav(), "params": {"overlap": "nan"}}, (400, 422)),
    "clip": ({"data": wav(), "params": {"clip": "maybe"}}, (400, 422)),
    "bitrate": ({"data": wav(), "params": {"bitrate": "-5"}}, (400, 422)),
}


@pytest.mark.parametrize("request_,status", JOBS.values(), ids=JOBS.keys())
def test_jobs(site, request_, status):
    answer = site.post("/apiv2/jobs", headers={"Content-Type": "audio/wav"}, **request_)
    statuses = status if isinstance(status, tuple) else (status,)
    assert answer.status_code in statuses, f"{answer.status_code} {answer.text}"
    check_reason(answer, answer.status_code, v2=True)


MULTIPART = {
    "no boundary": ("multipart/form-data", b"--x\r\n"),
    "no parts": ("multipart/form-data; boundary=x", b"--x--\r\n"),
    "no file": ("multipart/form-data; boundary=x",
                b'--x\r\nContent-Disposition: form-data; name="format"\r\n\r\nmp3\r\n--x--\r\n'),
    "no end": ("multipart/form-data; boundary=x",
               b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
               + wav()),
    "no headers": ("multipart/form-data; boundary=x", b"--x\r\n\r\n" + wav() + b"\r\n--x--\r\n"),
    "wrong boundary": ("multipart/form-data; boundary=y",
                       b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
                       b"abc\r\n--x--\r\n"),
    "long boundary": ("multipart/form-data; boundary=" + "z" * 500, b"--z"),
}


@pytest.mark.parametrize("kind,body", MULTIPART.values(), ids=MULTIPART.keys())
def test_multipart(site, kind, body):
    answer = site.post("/apiv2/jobs", data=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 415, 422), answer.text
    check_reason(answer, answer.status_code, v2=True)


def test_unknown_paths(site):
    for path in ("/nothing", "/apiv1", "/apiv1/", "/apiv1/separate/", "/apiv3/jobs"):
        check_reason(site.get(path), 404)
    for path in ("/apiv2/nothing", "/apiv2/jobs/" + "0" * 56,
                 "/apiv2/jobs/" + "0" * 56 + "/stems/bass.mp3"):
        check_reason(site.get(path), 404, v2=True)


def test_lists_and_cursors(site):
    for query in ("limit=0", "limit=x", "limit=-1", "limit=100000", "state=asleep", "cursor=%00",
                  "cursor=" + "z" * 5000, "cursor=' or 1"):
        answer = site.get("/apiv2/jobs?" + query)
        assert answer.status_code in (200, 400, 422), (query, answer.text)
        if answer.status_code != 200:
            check_reason(answer, answer.status_code, v2=True)


def test_a_good_song_would_have_been_taken(site):
    """So that the tests above cannot pass by refusing everything."""
    song = mp3()
    ident = site.separate(song, {"url": "http://localhost:1/"}, model="tiny")
    assert site.get("/apiv1/queue").json() == {"queue": [ident]}
    assert site.delete(f"/apiv2/jobs/{ident}").status_code in (200, 202, 204)
