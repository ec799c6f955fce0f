"""What can be heard of a job while it is at work, and what a page draws of its stems: pieces in the
store that come and go, preview_seconds, peaks."""

import base64
import json
import subprocess

import numpy as np
from harness import DEADLINE_S, STEMS, wait_for, wav
from test_kept import all_of, bucket_of, objects

PIECE_S = 5
SONG_S = 200  # long enough for the worker to be at work when somebody looks
# The worker hangs at this segment of a song that others do whole, and puts the pieces before it.
HANGS_AT = "hang@mid-inference:60"
KILLED_S = 50
HEARD_S = 15


def content(site, key):
    if hasattr(site, "data"):
        return (site.data / "objects" / "output" / key).read_bytes()
    return bucket_of(site).get_object(Bucket=site.prefix + "output", Key=key)["Body"].read()


def pieces_of(ident, count):
    return [f"preview/{ident}/{stem}-{number}.flac" for stem in STEMS for number in range(count)]


def previews(site, ident):
    return [key for key in objects(site, ident)[0] if key.startswith("preview/")]


def samples(sound):
    """16 bit, both channels in turn."""
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-"], input=sound,
        capture_output=True, check=True, timeout=DEADLINE_S).stdout
    return np.frombuffer(raw, np.int16).astype(int)


def heard(site, ident, seconds):
    """The job, once so much of it can be heard; it has not ended."""
    def look():
        job = site.job(ident)
        assert job["state"] in ("queued", "running"), job
        return job if job["preview_seconds"] >= seconds else None

    return wait_for(f"{seconds} s of preview", look)


def test_stems_can_be_heard_before_they_are_done(site):
    site.serve()
    site.work("--preview", 20)
    sent = site.submit(wav(SONG_S, tone=7), format="wav", clip="none")
    ident = sent["id"]
    assert sent["preview_seconds"] == 0
    job = heard(site, ident, PIECE_S)
    there = previews(site, ident)
    of_server = site.get(f"/apiv2/jobs/{ident}/preview/vocals-0.flac")
    assert of_server.headers["Content-Type"] == "audio/flac"
    assert of_server.content == content(site, f"preview/{ident}/vocals-0.flac")
    assert site.get(f"/apiv2/jobs/{ident}/peaks").json()["code"] == "not_finished"
    assert set(pieces_of(ident, int(job["preview_seconds"] / PIECE_S))) <= set(there)
    for file in ("vocals-4.flac", "guitar-0.flac", "vocals-00.flac", "vocals-0.wav", "vocals-0",
                 "vocals--1.flac", "-0.flac", "..-0.flac", "vocals-99999999999999999999.flac"):
        none = site.get(f"/apiv2/jobs/{ident}/preview/{file}")
        assert none.status_code == 404 and none.json()["code"] == "no_preview", file
    with site.get(f"/apiv2/jobs/{ident}/events", stream=True) as told:
        assert any('"state":"running"' in line and '"preview_seconds":20' in line
                   for line in told.iter_lines(decode_unicode=True))
    assert heard(site, ident, 20)["preview_seconds"] == 20
    assert previews(site, ident) == sorted(pieces_of(ident, 4))
    pieces = {key: content(site, key) for key in pieces_of(ident, 4)}
    job = site.finished(ident)
    assert job["preview_seconds"] == 0
    wait_for("the pieces to go", lambda: not previews(site, ident))
    assert objects(site, ident) == (all_of(ident, formats=("wav",)), [ident])

    gone = site.get(f"/apiv2/jobs/{ident}/preview/vocals-0.flac")
    assert gone.status_code == 404 and gone.json()["code"] == "no_preview"
    peaks = json.loads(content(site, f"kept/{ident}-peaks.json"))
    assert site.get(f"/apiv2/jobs/{ident}/peaks").json() == peaks
    assert peaks["frames"] == SONG_S * 44100 and peaks["frames_per_bin"] == 882
    assert peaks["version"] == 1 and peaks["sample_rate"] == 44100
    assert [stem["name"] for stem in peaks["stems"]] == STEMS
    for stem, url in [(stem["name"], stem["url"]) for stem in job["stems"]]:
        whole = samples(site.get(url).content)
        for number in range(4):
            piece = samples(pieces[f"preview/{ident}/{stem}-{number}.flac"])
            assert len(piece) == PIECE_S * 44100 * 2
            begin = whole[number * len(piece):(number + 1) * len(piece)]
            assert np.abs(piece - begin).max() <= 1
        bins = base64.b64decode(next(each["peaks"] for each in peaks["stems"]
                                     if each["name"] == stem))
        assert len(bins) == SONG_S * 50
        loudest = np.abs(whole).reshape(-1, 2 * 882).max(axis=1) * 255 / 32768
        assert np.abs(np.frombuffer(bins, np.uint8) - np.minimum(loudest, 255)).max() <= 1


def test_a_canceled_job_leaves_no_pieces(site):
    site.serve()
    site.work()
    ident = site.submit(wav(2 * SONG_S, tone=8))["id"]
    heard(site, ident, PIECE_S)
    assert site.delete(f"/apiv2/jobs/{ident}").status_code == 202
    wait_for("the end", lambda: site.get(f"/apiv2/jobs/{ident}").status_code == 404)
    assert objects(site, ident) == ([], [])


def kill_in_the_middle(site, ident, attempt):
    """A worker makes its so many-th attempt at the job and is killed, with pieces in the store."""
    doomed = site.work(env={"MSAAS_FAULT": HANGS_AT})
    wait_for("the attempt", lambda: site.job(ident)["attempts"] == attempt)
    heard(site, ident, HEARD_S)
    doomed.kill()


def test_pieces_of_a_killed_worker_go_with_the_job(site):
    site.serve()
    ident = site.submit(wav(KILLED_S, tone=9))["id"]
    kill_in_the_middle(site, ident, 1)
    assert previews(site, ident)
    site.work("--preview", 0)
    assert site.finished(ident)["preview_seconds"] == 0
    assert site.delete(f"/apiv2/jobs/{ident}").status_code == 204
    assert objects(site, ident) == ([], [])


def test_pieces_of_a_killed_worker_are_put_anew(site):
    """The same bytes: a listener who has some of them goes on."""
    site.serve()
    ident, left = site.submit(wav(KILLED_S, tone=9))["id"], []
    for attempt in (1, 2):
        kill_in_the_middle(site, ident, attempt)
        left.append({key: content(site, key) for key in previews(site, ident)})
    assert left[0] and all(left[1][key] == left[0][key] for key in left[0])
    site.work()
    site.finished(ident)
    wait_for("the pieces to go", lambda: not previews(site, ident))
    assert objects(site, ident) == (all_of(ident), [ident])
