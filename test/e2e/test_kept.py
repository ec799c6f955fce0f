"""What is kept of a job, and how long: one separation for all formats; everything goes with the
job; jobs of earlier releases; --keep."""

import contextlib
import json
import sqlite3
import subprocess

import boto3
import botocore.config
from harness import DEADLINE_S, HTTP, STEMS, files_under, song_id, wait_for, wav

OTHERS = [{"format": "wav"}, {"format": "flac", "clip": "none"}, {"bitrate": 96},
          {"format": "m4a", "bitrate": 64, "clip": "clamp"}]


# ---- behind the service ----

def bucket_of(site):
    return boto3.client(
        "s3", endpoint_url=site.s3.endpoint, aws_access_key_id=site.s3.access_key,
        aws_secret_access_key=site.s3.secret_key, region_name=site.s3.region,
        config=botocore.config.Config(s3={"addressing_style": "path"}, proxies={}))


def put(site, key, content):
    if hasattr(site, "data"):
        path = site.data / "objects" / "output" / key
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    else:
        bucket_of(site).put_object(Bucket=site.prefix + "output", Key=key, Body=content)


def remove(site, key):
    if hasattr(site, "data"):
        (site.data / "objects" / "output" / key).unlink()
    else:
        bucket_of(site).delete_object(Bucket=site.prefix + "output", Key=key)


def objects(site, ident):
    """The keys of all objects whose names hold this id: (stems, songs)."""
    found = []
    for bucket in ("output", "queue"):
        if hasattr(site, "data"):
            keys = files_under(site.data / "objects" / bucket)
        else:
            client = bucket_of(site)
            try:
                listed = client.list_objects_v2(Bucket=site.prefix + bucket)
            except client.exceptions.NoSuchBucket:  # nothing was ever put into it
                listed = {}
            keys = [item["Key"] for item in listed.get("Contents", [])]
        found.append(sorted(key for key in keys if ident in key))
    return tuple(found)


def change_record(site, ident, change):
    """change(doc) -> (id, doc): the record of the job is that one from now on."""
    if hasattr(site, "data"):
        with contextlib.closing(sqlite3.connect(site.data / "queue.db", timeout=60)) as db:
            doc = json.loads(db.execute("SELECT doc FROM jobs WHERE id = ?", [ident]).fetchone()[0])
            other, doc = change(doc)
            db.execute("UPDATE jobs SET id = ?, doc = ? WHERE id = ?",
                       [other, json.dumps(doc), ident])
            db.commit()
        return
    with site.redis.client() as client:
        other, doc = change(json.loads(client.hget(f"msaas:job:{ident}", "doc")))
        client.hset(f"msaas:job:{ident}", "doc", json.dumps(doc))
        if other != ident:
            client.rename(f"msaas:job:{ident}", f"msaas:job:{other}")
            for key in ("msaas:jobs", "msaas:state:succeeded"):
                client.zadd(key, {other: client.zscore(key, ident)})
                client.zrem(key, ident)


def all_of(ident, stems=STEMS, formats=("mp3",)):
    return sorted([f"{ident}-{stem}.{ending}" for stem in stems for ending in formats]
                  + [f"kept/{ident}-{stem}.flac" for stem in stems]
                  + [f"kept/{ident}-peaks.json"])


# ---- tests ----

def test_all_formats_are_one_job(site):
    site.serve()
    worker = site.work()
    song = wav(tone=2)
    first = site.finished(site.submit(song)["id"])
    assert first["id"] == song_id(song)
    assert objects(site, first["id"]) == (all_of(first["id"]), [first["id"]])
    for options in OTHERS:
        again = site.submit(song, **options)
        assert again == site.job(first["id"])
        assert again["state"] == "succeeded" and again["attempts"] == 1
    assert site.separate(song) == first["id"]  # /apiv1
    other = site.submit(song, stems="bass", format="wav")
    assert other["id"] != first["id"]
    site.finished(other["id"])
    assert worker.text().count("job begun") == 2
    assert site.submit(song, stems="bass")["id"] == other["id"]
    site.check_result(site.job(other["id"]))
    # What is kept has no loss: as FFmpeg reads it, it is the WAV that was asked for.
    kept = f"kept/{other['id']}-bass.flac"
    flac = ((site.data / "objects" / "output" / kept).read_bytes() if hasattr(site, "data") else
            bucket_of(site).get_object(Bucket=site.prefix + "output", Key=kept)["Body"].read())
    asked = site.get(other["stems"][0]["url"] if other["stems"] else
                     f"/apiv2/jobs/{other['id']}/stems/bass.wav").content
    decoded = [
        subprocess.run(["ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-"], input=sound,
                       capture_output=True, check=True, timeout=DEADLINE_S).stdout
        for sound in (flac, asked)]
    kept_samples, asked_samples = (memoryview(sound).cast("h") for sound in decoded)
    assert len(kept_samples) == len(asked_samples) > 1000
    assert max(abs(a - b) for a, b in zip(kept_samples, asked_samples)) <= 1


def test_everything_of_a_job_goes_with_it(site):
    site.serve()
    site.work()
    job = site.finished(site.submit(wav(tone=3))["id"])
    near = site.finished(site.submit(wav(tone=4))["id"])
    ident = job["id"]
    put(site, f"{ident}-vocals.opus", b"what somebody made of it")
    put(site, f"{ident}-choir.mp3", b"a stem that the job does not have")
    answer = HTTP.delete(f"{site.url}/apiv1/remove/{ident}/drums", timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text
    left = all_of(ident, ["bass", "other", "vocals"]) + [f"{ident}-vocals.opus",
                                                         f"{ident}-choir.mp3"]
    assert objects(site, ident) == (sorted(left), [ident])
    assert site.delete(f"/apiv2/jobs/{ident}").status_code == 204
    assert objects(site, ident) == ([], [])
    assert objects(site, near["id"]) == (all_of(near["id"]), [near["id"]])
    for stem in STEMS:
        assert HTTP.delete(f"{site.url}/apiv1/remove/{near['id']}/{stem}",
                           timeout=DEADLINE_S).status_code == 200
    assert objects(site, near["id"]) == ([], [])


def test_a_job_that_is_canceled_leaves_nothing(site):
    site.serve()
    site.work()
    ident = site.submit(wav(600, tone=5))["id"]
    site.wait_state(ident, "running")
    assert site.delete(f"/apiv2/jobs/{ident}").status_code == 202
    wait_for("the end", lambda: site.get(f"/apiv2/jobs/{ident}").status_code == 404)
    assert objects(site, ident) == ([], [])


def test_without_what_is_kept_it_is_expired(site):
    site.serve()
    worker = site.work()
    song = wav(tone=6)
    ident = site.finished(site.submit(song)["id"])["id"]
    remove(site, f"kept/{ident}-other.flac")
    again = site.submit(song, format="wav")
    assert again["state"] != "succeeded" and again["options"]["format"] == "wav"
    job = site.finished(ident)
    assert [stem["url"].rpartition(".")[2] for stem in job["stems"]] == ["wav"] * 4
    assert worker.text().count("job begun") == 2
    site.check_result(job)
    assert site.delete(f"/apiv2/jobs/{ident}").status_code == 204
    assert objects(site, ident) == ([], [])  # those of the first time, too


def test_jobs_of_earlier_releases(site):
    """Their records know of nothing that is kept, and their ids depended on the format."""
    site.serve()
    site.work()
    song = wav(tone=7)
    ident = site.finished(site.submit(song)["id"])["id"]
    flac = site.finished(site.submit(wav(tone=8), format="flac")["id"])
    old = "1234567890abcdef" * 3 + "12345678"  # what the digest of song and format was

    def forget_kept(doc):
        for stem in doc["stems"]:
            assert stem.pop("kept")["gain"] > 0
        return doc

    for each in (ident, flac["id"]):
        for stem in STEMS:
            remove(site, f"kept/{each}-{stem}.flac")
    change_record(site, ident, lambda doc: (ident, forget_kept(doc)))
    for stem in flac["stems"]:
        put(site, f"{old}-{stem['name']}.flac", site.get(stem["url"]).content)
    change_record(site, flac["id"], lambda doc: (old, forget_kept(doc) | {"id": old}))

    for each, ending in ((ident, "mp3"), (old, "flac")):
        job = site.job(each)
        assert job["state"] == "succeeded"
        assert {stem["url"] for stem in job["stems"]} == {
            f"/apiv2/jobs/{each}/stems/{stem}.{ending}" for stem in STEMS}
        site.check_result(job)
    assert site.get(f"/apiv1/track/{ident}/bass").status_code == 200
    assert site.submit(song, format="m4a") == site.job(ident)
    for each in (ident, old):
        assert site.delete(f"/apiv2/jobs/{each}").status_code == 204
        assert objects(site, each) == ([], [])
        assert site.get(f"/apiv2/jobs/{each}").status_code == 404


def test_jobs_are_kept_for_so_long(site):
    site.serve()
    worker = site.work("--keep", "1h")
    songs = [wav(tone=tone) for tone in (1, 2, 3)]
    idents = [site.finished(site.submit(songs[0])["id"])["id"], site.separate(songs[1])]
    site.finished(idents[1])
    failed = site.submit(b"RIFF\x24\0\0\0WAVE no music at all" * 9)["id"]
    site.wait_state(failed, "failed")
    assert worker.terminate() == 0
    waiting = site.submit(songs[2])["id"]
    for ident in idents:
        assert objects(site, ident) == (all_of(ident), [ident])

    worker = site.work("--keep", "2s")
    wait_for("the last one to be done", lambda: f"job done job={waiting}" in worker.text())
    for ident in [*idents, failed, waiting]:
        wait_for("the job to go", lambda: site.get(f"/apiv2/jobs/{ident}").status_code == 404)
        assert objects(site, ident) == ([], [])
        assert site.get(f"/apiv1/track/{ident}/bass").status_code == 404
    assert site.get("/apiv2/jobs").json()["jobs"] == []
    assert site.submit(songs[0])["id"] == idents[0]  # and is a job again
    wait_for("the second run", lambda: worker.text().count("job begun") == 2)


def test_up_has_a_retention_time(make_site):
    site = make_site({})
    site.up("--keep", "1s")
    ident = site.submit(wav())["id"]
    wait_for("the job to go", lambda: site.get(f"/apiv2/jobs/{ident}").status_code == 404)
    assert [name for name in files_under(site.folder / "data") if ident in name] == []
    assert "must be a time such as 90s, 30m, 72h or 7d" in subprocess.run(
        [site.processes[0].popen.args[0], "up", "--keep", "72"], capture_output=True, text=True,
        env=site.environment(), timeout=DEADLINE_S, check=False).stderr
    site.stop()


def test_the_course_has_mp3_of_every_job(site):
    site.serve()
    worker = site.work()
    song = wav(tone=9)
    job = site.finished(site.submit(song, format="wav")["id"])
    assert site.separate(song) == job["id"]
    for path in ("vocals", "vocals.mp3"):
        answer = site.get(f"/apiv1/track/{job['id']}/{path}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "audio/mpeg"
        assert f"{job['id']}-vocals.mp3" in answer.headers["Content-Disposition"]
        assert answer.content[:3] == b"ID3" or answer.content[0] == 0xFF
    for ending in ("flac", "opus", "m4a", "mp3", "wav"):
        assert site.get(f"/apiv2/jobs/{job['id']}/stems/bass.{ending}").status_code == 200
    assert worker.text().count("job begun") == 1
