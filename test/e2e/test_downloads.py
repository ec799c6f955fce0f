"""What is made of finished stems: other formats, mixes, archives, and the names they are saved
under. On both pairs of backends; nothing is ever separated twice."""

import io
import json
import re
import shutil
import struct
import subprocess
import tempfile
import threading
import urllib.parse
import zipfile

import numpy as np
import pytest
from harness import HTTP, MSAAS, STEMS, Process, files_under, wait_for, wav

FRAMES = 22050
SONG = "../x: \"1\"; filename=é.mp3"
SAFE = "x_ _1_; filename=é"


def decode(content):
    """Any file of music -> float [frames, 2], as FFmpeg reads it."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        raw = subprocess.run(["ffmpeg", "-v", "error", "-i", file.name, "-f", "f32le", "-ac", "2",
                              "-ar", "44100", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.float32).reshape(-1, 2).astype(np.float64)


def floats(content):
    """The samples of a float WAV, as they stand in it."""
    assert content[:4] == b"RIFF" and content[8:12] == b"WAVE"
    assert struct.unpack("<I", content[4:8])[0] == len(content) - 8
    at = 12
    while content[at:at + 4] != b"data":
        at += 8 + struct.unpack("<I", content[at + 4:at + 8])[0]
    size = struct.unpack("<I", content[at + 4:at + 8])[0]
    assert at + 8 + size == len(content)
    return np.frombuffer(content[at + 8:], np.float32).reshape(-1, 2).astype(np.float64)


def name_of(answer):
    """As a browser reads Content-Disposition: RFC 6266, RFC 8187."""
    parts = re.fullmatch(r"attachment; filename=\"([ !#-\[\]-~]*)\"; filename\*=UTF-8''([\w.~%-]*)",
                         answer.headers["Content-Disposition"], re.ASCII)
    assert parts, answer.headers["Content-Disposition"]
    return urllib.parse.unquote(parts[2], errors="strict")


def song(tone=1):
    return wav(0.5, tone, rate_hz=44100)


@pytest.fixture(params=["embedded", "scaled"], scope="module")
def site(request):
    made = request.getfixturevalue(f"make_{request.param}")()
    made.serve("--max-renders", 2)
    made.work()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def job(site):
    return site.finished(site.submit(song(), name=SONG)["id"])


def get(site, job, path, status=200, **options):
    answer = site.get(f"/apiv2/jobs/{job['id']}/{path}", **options)
    assert answer.status_code == status, answer.text
    return answer


def stem_floats(site, job, **options):
    """Each stem as it was separated."""
    query = urllib.parse.urlencode({"sample_type": "float32", "clip": "none"} | options)
    return {name: floats(get(site, job, f"stems/{name}.wav?{query}").content) for name in STEMS}


def assert_alike(kind, heard, meant):
    # FFmpeg shows the end of the last packet of M4A, and converts the rate of Opus.
    slack = {"m4a": 1023, "opus": 60}.get(kind, 0)
    assert abs(len(heard) - FRAMES) <= slack, kind
    count = min(len(heard), FRAMES)
    # The network is random: its stems are noise, of which lossy formats keep only so much. One
    # frame off, and nothing of it is alike.
    assert np.corrcoef(heard[:count].ravel(), meant[:count].ravel())[0, 1] > 0.6, kind


def test_a_stem_in_every_format(site, job):
    whole = stem_floats(site, job, clip="rescale")
    for kind, mime in (("mp3", "audio/mpeg"), ("wav", "audio/wav"), ("flac", "audio/flac"),
                       ("opus", "audio/ogg"), ("m4a", "audio/mp4")):
        answer = get(site, job, f"stems/vocals.{kind}")
        assert answer.headers["Content-Type"] == mime
        heard = decode(answer.content)
        assert len(whole["vocals"]) == FRAMES
        assert_alike(kind, heard, whole["vocals"])
    assert site.job(job["id"])["attempts"] == 1
    get(site, job, "stems/vocals.wma", 404)
    get(site, job, "stems/guitar.wav", 404)
    assert get(site, job, "stems/vocals.mp3?bitrate=999", 422).json()["code"] == "invalid_option"


def test_a_second_format_is_the_same_job(site, job):
    again = site.submit(song(), format="flac", name="other")
    assert again["id"] == job["id"] and again["state"] == "succeeded" and again["attempts"] == 1


def test_what_is_kept_has_ranges_and_a_tag(site, job):
    whole = get(site, job, "stems/bass.flac")
    assert whole.content[:4] == b"fLaC" and whole.headers["Accept-Ranges"] == "bytes"
    part = get(site, job, "stems/bass.flac", 206, headers={"Range": "bytes=10-19"})
    assert part.content == whole.content[10:20]
    tag = {"If-None-Match": whole.headers["ETag"]}
    get(site, job, "stems/bass.flac", 304, headers=tag)


def test_parts_joined_are_the_whole(site, job):
    """At odd places: frames are rounded once, so that none is lost or heard twice."""
    places = [0, 0.1000007, 0.2, 0.37, 9]
    for what in ("stems/vocals.wav?sample_type=float32&clip=none&",
                 "mix?format=wav&sample_type=float32&clip=none&gains=drums:-3&"):
        whole = floats(get(site, job, what).content)
        parts = [floats(get(site, job, f"{what}from={a}&seconds={b - a:.9f}").content)
                 for a, b in zip(places, places[1:], strict=False)]
        assert [len(part) for part in parts] == [4410, 4410, 7497, FRAMES - 16317]
        assert np.array_equal(np.concatenate(parts), whole)
        assert np.array_equal(floats(get(site, job, f"{what}from=0.4").content), whole[17640:])
    part = get(site, job, "stems/vocals.flac?from=0.1&seconds=0.25")
    assert part.content[:4] == b"fLaC" and name_of(part) == f"{SAFE} - vocals (0.1-0.35 s).flac"
    whole = decode(get(site, job, "stems/vocals.flac?sample_type=int16").content)
    assert np.abs(decode(part.content) - whole[4410:15435]).max() <= 1 / 32768
    assert name_of(get(site, job, "mix?from=0.1")) == f"{SAFE} - mix (from 0.1 s).mp3"
    content = get(site, job, "stems.zip?format=wav&seconds=0.2").content
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert len(archive.namelist()) == len(STEMS)
    for name in archive.namelist():
        assert name.endswith(" (0-0.2 s).wav") and archive.getinfo(name).file_size > 8820 * 4


@pytest.mark.parametrize("query,says", [
    ("from=0.5", "0.500"), ("from=-1", "from"), ("from=x", "from"), ("seconds=0", "seconds"),
    ("seconds=1e9", "seconds"),
])
def test_parts_that_are_not_there(site, job, query, says):
    for what in ("stems/vocals.flac", "mix", "stems.zip"):
        answer = get(site, job, f"{what}?{query}", 422).json()
        assert answer["code"] == "invalid_option" and says in answer["detail"]


@pytest.mark.parametrize("what", ["stems/bass.flac", "stems/bass.opus", "mix", "stems.zip",
                                  "stems/bass.flac?seconds=0.1", "mix?gains=bass:-3&from=0.1",
                                  "stems.zip?format=wav", "peaks"])
def test_tags(site, job, what):
    """What is made has a tag, too: that of its bytes."""
    whole = get(site, job, what)
    tag = whole.headers["ETag"]
    again = get(site, job, what, headers={"If-Match": f'"other", {tag}'})
    assert again.headers["ETag"] == tag and again.content == whole.content
    known = get(site, job, what, 304, headers={"If-None-Match": tag})
    assert known.headers["ETag"] == tag and not known.content
    refused = get(site, job, what, 412, headers={"If-Match": '"other"'})
    assert refused.json()["code"] == "precondition_failed"
    assert get(site, job, what, headers={"If-None-Match": '"other"'}).content == whole.content


def test_tags_differ(site, job):
    paths = ["stems/bass.flac", "stems/drums.flac", "stems/bass.opus", "mix", "mix?gains=bass:-3",
             "mix?pan=bass:1", "mix?from=0.1", "mix?seconds=0.1", "mix?format=flac", "stems.zip",
             "mix?format=flac&sample_type=int24", "stems.zip?format=wav", "stems.zip?from=0.1",
             "mix?format=wav", "mix?format=wav&clip=none", "mix?bitrate=64"]
    tags = {path: get(site, job, path).headers["ETag"] for path in paths}
    assert len(set(tags.values())) == len(paths), tags


@pytest.mark.parametrize("gains,pan", [
    ({}, {}),
    ({"vocals": "-inf"}, {}),
    ({"drums": "-inf", "bass": "-inf", "other": "-inf"}, {}),
    ({"drums": "0", "vocals": "-6", "bass": "3.5", "other": "-20.25"}, {}),
    ({"vocals": "6"}, {"vocals": "0.2", "drums": "-1", "bass": "1", "other": "-0.37"}),
], ids=["all", "karaoke", "a cappella", "gains", "pan"])
def test_a_mix_is_the_sum(site, job, gains, pan):
    stems = stem_floats(site, job)
    want = np.zeros((FRAMES, 2))
    for name, samples in stems.items():
        left, right = samples.T
        place = float(pan.get(name, 0))
        if place < 0:  # W3C Web Audio API, StereoPannerNode
            x = (place + 1) * np.pi / 2
            left, right = left + right * np.cos(x), right * np.sin(x)
        elif place > 0:
            x = place * np.pi / 2
            left, right = left * np.cos(x), right + left * np.sin(x)
        want += 10 ** (float(gains.get(name, 0)) / 20) * np.stack([left, right], 1)
    query = {"format": "wav", "sample_type": "float32", "clip": "none"}
    for key, values in (("gains", gains), ("pan", pan)):
        if values:
            query[key] = ",".join(f"{name}:{value}" for name, value in values.items())
    answer = get(site, job, "mix?" + urllib.parse.urlencode(query))
    got = floats(answer.content)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert got.shape == want.shape
    # each stem was rounded once on its way here
    assert np.abs(got - want).max() < 2e-7 * max(1, np.abs(want).max() * len(stems))


def test_a_mix_in_every_format(site, job):
    exact = floats(get(site, job, "mix?format=wav&sample_type=float32").content)
    for kind in ("mp3", "wav", "flac", "opus", "m4a"):
        answer = get(site, job, f"mix?format={kind}")
        assert_alike(kind, decode(answer.content), exact)
    assert get(site, job, "mix").headers["Content-Type"] == "audio/mpeg"


@pytest.mark.parametrize("query,code,says", [
    ("gains=guitar:1", "invalid_option", "drums, bass, other, vocals"),
    ("gains=vocals", "invalid_option", "drums:0,vocals:-6"),
    ("gains=vocals:99", "invalid_option", "-120 to 24"),
    ("gains=vocals:nan", "invalid_option", "-inf mutes"),
    ("gains=vocals:1,vocals:2", "invalid_option", "twice"),
    ("gains=vocals:1&gains=drums:2", "invalid_option", "gains: is given twice"),
    ("format=wav&bitrate=320", "invalid_option", "wav has no bit rate"),
    ("pan=vocals:2", "invalid_option", "-1 to 1"),
    ("format=wma", "invalid_option", "mp3"),
    ("format=mp3&bitrate=1", "invalid_option", "32"),
    ("format=mp3&sample_type=int24", "invalid_option", "sample_type"),
    ("clip=rescale", "invalid_option", "clamp"),
    ("gain=vocals:-inf", "unknown_option", "gains, pan, format"),
])
def test_wrong_mixes(site, job, query, code, says):
    problem = get(site, job, f"mix?{query}", 422).json()
    assert problem["code"] == code and says in problem["detail"], problem
    assert problem["detail"].count("bitrate: ") <= 1, problem


def test_jobs_that_are_not_there_or_not_finished(site):
    waiting = site.submit(wav(900, tone=77))
    for path in ("mix", "stems.zip", "stems/vocals.wav"):
        assert site.get(f"/apiv2/jobs/{'0' * 56}/{path}").status_code == 404
        answer = site.get(f"/apiv2/jobs/{waiting['id']}/{path}")
        assert answer.status_code == 409 and "Retry-After" in answer.headers
    site.delete(f"/apiv2/jobs/{waiting['id']}")


# ---- archives ----

@pytest.mark.parametrize("kind", [None, "flac", "wav", "m4a"])
def test_archives(site, job, kind, tmp_path):
    answer = get(site, job, "stems.zip" + (f"?format={kind}" if kind else ""))
    assert answer.headers["Content-Type"] == "application/zip"
    # of what is stored, the length is known before
    assert ("Content-Length" in answer.headers) == (kind in (None, "flac"))
    path = tmp_path / "stems.zip"
    path.write_bytes(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{SAFE}/{name}.{kind or 'mp3'}" for name in
                                      [stem["name"] for stem in job["stems"]]]
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            single = get(site, job, f"stems/{info.filename.split('/')[1]}").content
            assert archive.read(info) == single
    subprocess.run(["unzip", "-tqq", path], check=True)
    if shutil.which("bsdtar"):
        subprocess.run(["bsdtar", "-tf", "-"], stdin=path.open("rb"), check=True,
                       stdout=subprocess.DEVNULL)


def test_wrong_archives(site, job):
    assert get(site, job, "stems.zip?format=wma", 422).json()["code"] == "invalid_option"
    assert get(site, job, "stems.zip?fromat=wav", 422).json()["code"] == "unknown_option"


# ---- names ----

def test_names_of_downloads(site, job):
    for path, name in (("stems/vocals.mp3", "vocals.mp3"), ("stems/vocals.flac", "vocals.flac"),
                       ("stems/vocals.wav", "vocals.wav"), ("mix", "mix.mp3"),
                       ("stems.zip", "stems.zip")):
        answer = get(site, job, path)
        assert name_of(answer) == f"{SAFE} - {name}"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        head = HTTP.head(f"{site.url}/apiv2/jobs/{job['id']}/{path}")
        assert head.status_code == 200 and name_of(head) == f"{SAFE} - {name}"
    track = site.get(f"/apiv1/track/{job['id']}/vocals")
    assert track.headers["Content-Disposition"] == (
        f'attachment; filename="{job["id"]}-vocals.mp3"')


def test_names_of_other_scripts(site):
    job = site.finished(site.submit(song(tone=3), name="Söng あ 100%.flac")["id"])
    answer = get(site, job, "mix?format=opus")
    text = answer.headers["Content-Disposition"]
    assert 'filename="S_ng _ 100_ - mix.opus"' in text
    assert "filename*=UTF-8''S%C3%B6ng%20%E3%81%82%20100%25%20-%20mix.opus" in text
    nameless = site.finished(site.submit(song(tone=4))["id"])
    assert name_of(get(site, nameless, "mix")) == f"{nameless['id']} - mix.mp3"


def test_names_of_downloads_from_the_store(make_scaled):
    """--presign: what the S3 server answers is saved under the same name."""
    site = make_scaled()
    site.serve("--presign", 600)
    site.work()
    job = site.finished(site.submit(song(tone=6), name="Söng & 100%; a=\"b\".wav")["id"])
    for path in "stems/vocals.mp3", "stems/drums.flac":
        direct = HTTP.head(f"{site.url}/apiv2/jobs/{job['id']}/{path}")
        answer = get(site, job, path)
        assert [one.status_code for one in answer.history] == [302] and answer.content
        assert answer.headers["Content-Disposition"] == direct.headers["Content-Disposition"]
        assert "S%C3%B6ng%20%26%20100%25" in answer.headers["Content-Disposition"]
    site.stop()


# ---- the command line ----

def test_fetch_and_mix(site, job, tmp_path):
    ident = job["id"]
    site.run("fetch", ident, cwd=tmp_path)
    folder = tmp_path / "separated" / SAFE
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{s}.mp3" for s in STEMS)
    site.run("fetch", "--flac", ident, cwd=tmp_path)
    assert (folder / "bass.flac").read_bytes() == get(site, job, "stems/bass.flac").content
    assert site.run("fetch", "--zip", ident, cwd=tmp_path).strip() == f"separated/{SAFE}.zip"
    with zipfile.ZipFile(tmp_path / "separated" / f"{SAFE}.zip") as archive:
        assert archive.testzip() is None and len(archive.namelist()) == 4
    told = json.loads(site.run("mix", "--json", "--gains", "vocals:-inf", ident, cwd=tmp_path))
    assert told == {"id": ident, "path": f"separated/{SAFE}/mix.mp3"}
    assert (tmp_path / told["path"]).read_bytes() == get(
        site, job, "mix?gains=vocals:-inf").content
    site.run("mix", "--format", "wav", "--float32", "--pan", "drums:-1", "-o", "x.wav", ident,
             cwd=tmp_path)
    assert (tmp_path / "x.wav").read_bytes() == get(
        site, job, "mix?format=wav&sample_type=float32&pan=drums:-1").content
    out = Process([MSAAS, "mix", "-o", "-", ident], tmp_path / "out",
                  site.environment(MSAAS_SERVER=site.url))
    assert out.wait() == 0
    assert (tmp_path / "out").read_bytes() == get(site, job, "mix").content
    out = Process([MSAAS, "fetch", "--zip", "-o", "-", ident], tmp_path / "zip",
                  site.environment(MSAAS_SERVER=site.url), tmp_path)
    assert out.wait() == 0
    assert (tmp_path / "zip").read_bytes() == get(site, job, "stems.zip").content
    assert not (tmp_path / "-").exists()
    site.run("fetch", "-o", "-", ident, cwd=tmp_path, expect=2)  # several files
    site.run("fetch", "--json", "--zip", "-o", "-", ident, cwd=tmp_path, expect=2)
    site.run("mix", "--gains", "x:1", ident, cwd=tmp_path, expect=1)
    assert not (tmp_path / "separated" / "mix.mp3").exists()
    assert not list(tmp_path.rglob(".*")), "no temporary file is left"


# ---- many, slow and leaving readers ----

def test_too_many_are_told_to_come_back(make_embedded):
    site = make_embedded()
    server = site.serve("--max-renders", 1)
    site.work()
    job = site.finished(site.submit(wav(120, tone=5, rate_hz=8000))["id"])
    path = f"/apiv2/jobs/{job['id']}/mix?format=wav&sample_type=float32"
    whole = site.get(path).content
    answers = []

    def ask():
        answer = HTTP.get(site.url + path, timeout=300)
        answers.append((answer.status_code, answer.headers, answer.content))

    def one_was_refused():
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return any(status == 503 for status, _, _ in answers)

    wait_for("an answer of 503", one_was_refused)
    for status, headers, content in answers:
        if status == 200:
            assert content == whole
        else:
            assert status == 503 and int(headers["Retry-After"]) >= 1
            assert json.loads(content)["code"] == "overloaded"
    # who leaves makes room, and what is not read costs nothing
    for _ in range(12):
        with HTTP.get(site.url + path, stream=True, timeout=300) as answer:
            assert answer.status_code in (200, 503)
            answer.raw.read(1000)
    wait_for("a mix", lambda: site.get(path).status_code == 200)
    assert server.running()
    site.stop()


def test_stems_that_are_gone(make_embedded):
    site = make_embedded()
    site.serve()
    site.work()
    job = site.finished(site.submit(song(tone=6))["id"])
    for name in files_under(site.data):
        if "vocals" in name:
            (site.data / name).unlink()
    for path in ("mix", "stems.zip", "stems/vocals.wav"):
        assert get(site, job, path, 410).json()["code"] == "job_expired"
    site.stop()
