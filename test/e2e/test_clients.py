"""The client commands against `msaas up`: submit, status, queue, fetch, rm, as somebody at a
terminal uses them."""

import json
import re
import signal

import pytest
from harness import MSAAS, STEMS, Process, song_id, wait_for, wav


@pytest.fixture(scope="module")
def site(make_site):
    made = make_site({})
    made.up()
    yield made
    made.stop()


@pytest.fixture
def song(tmp_path, request):
    def make(tone, seconds=0.5):
        path = tmp_path / f"song {tone}.wav"
        path.write_bytes(wav(seconds, tone))
        return path

    return make


def ident_in(text):
    return re.search(r"\b[0-9a-f]{56}\b", text)[0]


def test_up_says_where_it_is(site):
    # once the first worker is ready
    wait_for("a curl line", lambda: "curl" in site.processes[0].text())
    assert site.url in site.processes[0].text().replace("localhost", "127.0.0.1")


def test_submit_and_wait_and_fetch(site, song, tmp_path):
    path = song(1)
    ident = ident_in(site.run("submit", path, "--wait"))
    assert ident == song_id(path.read_bytes())
    assert "succeeded" in site.run("status", ident)
    site.run("fetch", ident, "-o", tmp_path / "stems")
    files = sorted(p.name for p in (tmp_path / "stems").rglob("*") if p.is_file())
    assert len(files) == 4 and all(any(stem in name for name in files) for stem in STEMS)
    job = site.job(ident)
    assert sorted(p.stat().st_size
                  for p in (tmp_path / "stems").rglob("*.mp3")) == sorted(s["bytes"]
                                                                          for s in job["stems"])


def test_submit_status_rm(site, song):
    ident = ident_in(site.run("submit", song(2)))
    wait_for("the status", lambda: "succeeded" in site.run("status", ident))
    site.run("rm", ident)
    assert site.get(f"/apiv2/jobs/{ident}").status_code == 404
    site.run("status", ident, expect=1)


def test_queue(site, song):
    long = ident_in(site.run("submit", song(3, 900)))
    site.wait_state(long, "running")
    waiting = [ident_in(site.run("submit", song(tone))) for tone in (4, 5)]
    text = site.run("queue")
    assert re.findall(r"\b[0-9a-f]{56}\b", text) == waiting
    site.run("rm", long)
    for ident in waiting:
        site.finished(ident)


def test_who_stops_waiting_is_told_the_job(site, song):
    ident = song_id(song(9, 900).read_bytes())
    waiting = Process([MSAAS, "submit", "--wait", song(9, 900)], site.folder / "waiting.log",
                      site.environment(MSAAS_SERVER=site.url))
    wait_for("it to wait", lambda: f"GET /apiv2/jobs/{ident}" in site.processes[0].text())
    waiting.signal(signal.SIGINT)
    assert waiting.wait() == 130
    assert f"job {ident} goes on" in waiting.text()
    site.run("rm", ident)


def test_a_damaged_song_is_done_and_told(site, tmp_path):
    path = tmp_path / "cut.wav"
    path.write_bytes(wav(2, 10)[:-20000])
    job, failure = map(json.loads,
                       site.run("submit", path, "--wait", "--json", expect=1).splitlines())
    assert "damaged" in failure["message"]
    assert job["state"] == "succeeded" and job["receipt"]["damaged"] is True
    assert len(job["stems"]) == 4


def test_json(site, song):
    ident = ident_in(site.run("submit", song(6), "--wait"))
    job = json.loads(site.run("status", "--json", ident))
    assert job["state"] == "succeeded" and job["receipt"]["damaged"] is False


def test_failures_are_told(site, song, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"this is no song, whatever its name is")
    site.run("submit", bad, expect=1)
    site.run("submit", tmp_path / "missing.wav", expect=1)
    site.run("fetch", "0" * 56, expect=1)
    site.run("rm", "0" * 56, expect=1)
    site.run("status", "xyz", expect=2)
    site.run("submit", expect=2)
    site.run("queue", expect=1, env={"MSAAS_SERVER": "http://127.0.0.1:1"})
