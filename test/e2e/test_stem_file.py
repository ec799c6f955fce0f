"""Stem files of jobs over HTTP and with `msaas fetch`: what is in them (tools/mp4_boxes.py),
ranges, tags, and who gets none. On both pairs of backends."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from harness import HTTP, wav

TOOLS = pathlib.Path(__file__).resolve().parent.parent / "tools"
FRAMES = 22050


@pytest.fixture(params=["embedded", "scaled"], scope="module")
def site(request):
    made = request.getfixturevalue(f"make_{request.param}")()
    made.scratch = made.folder / "scratch"
    made.serve("--max-renders", 2, "--scratch", made.scratch)
    made.work()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def job(site):
    return site.finished(site.submit(wav(0.5, rate_hz=44100), name="Lied é.wav")["id"])


def get(site, job, query="", status=200, **options):
    answer = site.get(f"/apiv2/jobs/{job['id']}/stem.mp4{query}", **options)
    assert answer.status_code == status, answer.text
    return answer


def boxes(path):
    """What the checker prints, if it finds nothing wrong."""
    run = subprocess.run([sys.executable, TOOLS / "mp4_boxes.py", path], capture_output=True,
                         text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def tracks(path):
    """[5][frames][2], as FFmpeg decodes them."""
    def decode(number):
        command = ["ffmpeg", "-v", "error", "-i", path, "-map", f"0:{number}", "-f", "f32le", "-"]
        raw = subprocess.run(command, capture_output=True, check=True).stdout
        return np.frombuffer(raw, np.float32).reshape(-1, 2)[:FRAMES].astype(np.float64)
    return [decode(number) for number in range(5)]


def test_the_mix_and_its_stems(site, job, tmp_path):
    for name, query, codec in (("aac", "", "mp4a"), ("low", "?bitrate=64", "mp4a"),
                               ("alac", "?codec=alac", "alac")):
        answer = get(site, job, query)
        path = tmp_path / f"{name}.stem.mp4"
        path.write_bytes(answer.content)
        assert answer.headers["Content-Type"] == "audio/mp4"
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        assert answer.headers["Content-Disposition"].endswith("''Lied%20%C3%A9.stem.mp4")
        said = boxes(path)
        assert (said["codec"], said["frames"]) == (codec, FRAMES)
    assert (tmp_path / "low.stem.mp4").stat().st_size < (tmp_path / "aac.stem.mp4").stat().st_size
    mix, *stems = tracks(tmp_path / "alac.stem.mp4")
    assert np.abs(np.clip(sum(stems), -1, 1) - mix).max() < 3 / 32768
    assert len({stem.tobytes() for stem in stems}) == 4
    assert list(site.scratch.iterdir()) == []


def test_as_any_other_download(site, job):
    whole = get(site, job)
    tag = whole.headers["ETag"]
    again = get(site, job)
    assert again.content == whole.content and again.headers["ETag"] == tag
    assert get(site, job, "?bitrate=64").headers["ETag"] != tag
    part = get(site, job, status=206, headers={"Range": "bytes=10-19", "If-Range": tag})
    assert part.content == whole.content[10:20]
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole.content)}"
    get(site, job, headers={"Range": "bytes=10-19", "If-Range": '"other"'})
    beyond = get(site, job, status=416, headers={"Range": f"bytes={len(whole.content)}-"})
    assert beyond.headers["Content-Range"] == f"bytes */{len(whole.content)}"
    assert get(site, job, status=304, headers={"If-None-Match": tag}).content == b""
    get(site, job, status=412, headers={"If-Match": '"other"'})
    head = HTTP.head(site.url + f"/apiv2/jobs/{job['id']}/stem.mp4")
    assert (head.status_code, head.headers["ETag"]) == (200, tag)


def test_who_gets_none(site, job):
    other = site.finished(site.submit(wav(0.5), two_stems="vocals")["id"])
    answer = get(site, other, status=422).json()
    assert answer["code"] == "not_four_stems"
    assert "this job has vocals, no_vocals" in answer["detail"]
    for query, code in (("?codec=flac", "invalid_option"), ("?bitrate=31", "invalid_option"),
                        ("?codec=alac&bitrate=128", "invalid_option"),
                        ("?format=mp3", "unknown_option")):
        assert get(site, job, query, 422).json()["code"] == code
    assert get(site, {"id": "0" * 56}, status=404).json()["code"] == "unknown_job"


def test_fetch(site, job):
    said = site.run("fetch", "--stem-mp4", job["id"])
    assert said == "separated/Lied é.stem.mp4\n"
    assert boxes(site.folder / said.strip())["frames"] == FRAMES
    site.run("fetch", "--stem-mp4", "--zip", job["id"], expect=2)
    other = site.submit(wav(0.5), two_stems="vocals")["id"]
    site.run("fetch", "--wait", "--stem-mp4", other, expect=1)
    assert [path.name for path in (site.folder / "separated").iterdir()] == ["Lied é.stem.mp4"]
