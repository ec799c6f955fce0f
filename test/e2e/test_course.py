"""The course's clients, unchanged: requests + jsonpickle, redis-py on `logging`, boto3 on the
buckets; its variables' names."""

import base64
import hashlib
import json
import re
import signal
import time

import boto3
import botocore.config
import jsonpickle
import pytest
from harness import DEADLINE_S, HTTP, free_port, mp3, song_id, wait_for

TRACKS = ["bass", "vocals", "drums", "other"]


@pytest.fixture(scope="module")
def course(make_site, make_redis, s3):
    redis = make_redis()
    site = make_site({  # one name of each: the sample's and those of others
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": redis.port,
        "MINIO_ENDPOINT": s3.endpoint.removeprefix("http://"),
        "MINIO_USER": s3.access_key,
        "MINIO_SECRET_KEY": s3.secret_key,
        "MSAAS_CALLBACK_ALLOW": "localhost, 127.0.0.0/8",
    })
    site.redis = redis
    site.bucket = boto3.client(
        "s3", endpoint_url=s3.endpoint, aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name=s3.region,
        config=botocore.config.Config(s3={"addressing_style": "path"}, proxies={}),
    )
    site.serve()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def worker(course):
    return course.work()


def call(method, url, data=None):
    """As the lab's sample request does it: a JSON body with every method, `null` where there is
    nothing to say."""
    return method(url, data=jsonpickle.encode(data), headers={"Content-type": "application/json"},
                  timeout=DEADLINE_S)


def separate(site, song, callback=None):
    answer = call(HTTP.post, f"{site.url}/apiv1/separate", {
        "mp3": base64.b64encode(song).decode("utf-8"),
        "callback": callback or {"url": "http://localhost:5000", "data": {"mp3": "song.mp3"}},
    })
    assert answer.status_code == 200, answer.text
    said = jsonpickle.decode(answer.text)
    assert said == {"hash": song_id(song), "reason": "Song enqueued for separation"}
    return said["hash"]


def track(site, ident, name):
    return HTTP.get(f"{site.url}/apiv1/track/{ident}/{name}", timeout=DEADLINE_S)


def wait_done(site, ident):
    def done():
        answer = track(site, ident, "bass")
        assert answer.status_code in (200, 409), answer.text
        return answer.status_code == 200

    wait_for(f"the tracks of {ident[:8]}", done)


def queued(site, path="/apiv1/queue"):
    answer = call(HTTP.get, site.url + path)
    assert answer.status_code == 200, answer.text
    return jsonpickle.decode(answer.text)["queue"]


def keys(site, bucket, prefix=""):
    listed = site.bucket.list_objects_v2(Bucket=bucket, Prefix=prefix)
    return sorted(item["Key"] for item in listed.get("Contents", []))


def test_root_is_a_page_for_the_load_balancer(course):
    answer = HTTP.get(course.url + "/", timeout=DEADLINE_S)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


def test_songs_wait_in_order_until_a_worker_comes(course, request):
    songs = [mp3(tone=tone) for tone in (1, 2, 3)]
    waiting = [separate(course, song) for song in songs]
    assert queued(course) == waiting
    assert queued(course, "/apiv1/queue/") == waiting
    assert HTTP.get(course.url + "/apiv1/queue", timeout=DEADLINE_S).json() == {"queue": waiting}
    with course.redis.client() as client:
        assert client.llen("toWorker") == 3
        assert waiting[0] in client.lindex("toWorker", -1).decode()  # producers LPUSH
    early = track(course, waiting[0], "bass.mp3")
    assert early.status_code == 409
    assert int(early.headers["Retry-After"]) > 0
    assert early.json()["reason"]

    again = [separate(course, song) for song in songs]
    assert again == waiting == queued(course)

    request.getfixturevalue("worker")  # the only one, which later tests may stop
    for ident in waiting:
        wait_done(course, ident)
    assert queued(course) == []
    with course.redis.client() as client:
        assert client.llen("toWorker") == 0


def test_a_song_goes_all_the_way(course, worker, hook):
    song = mp3(tone=5)
    data = {"mp3": "short.mp3", "data": "to be returned", "list": [1, None, {"deep": "ü"}]}
    ident = separate(course, song, {"url": hook.local_url + "/done", "data": data})
    wait_done(course, ident)
    whole = {}
    for name in TRACKS:
        answer = track(course, ident, name)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "audio/mpeg"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert track(course, ident, name + ".mp3").content == answer.content
        assert answer.content[:3] == b"ID3" or answer.content[0] == 0xFF
        whole[name] = answer.content
    assert len(set(whole.values())) == 4
    for name in ("base", "base.mp3"):
        assert track(course, ident, name).content == whole["bass"]

    assert keys(course, "output", ident) == sorted(f"{ident}-{name}.mp3" for name in TRACKS)
    for name in TRACKS:
        stored = course.bucket.get_object(Bucket="output", Key=f"{ident}-{name}.mp3")["Body"].read()
        assert hashlib.sha256(stored).digest() == hashlib.sha256(whole[name]).digest()
    assert course.bucket.get_object(Bucket="queue", Key=ident)["Body"].read() == song

    wait_for("the callback", lambda: hook.got)
    path, headers, body = hook.got[0]
    assert path == "/done"
    assert headers["Content-Type"].startswith("application/json")
    assert jsonpickle.decode(body.decode()) == data
    assert len(hook.got) == 1


def test_what_other_clients_write(course, worker, hook):
    """A callback that is its URL alone, and the song as a browser's FileReader gives it."""
    song = mp3(tone=8)
    answer = call(HTTP.post, f"{course.url}/apiv1/separate", {
        "mp3": "data:audio/mpeg;base64," + base64.b64encode(song).decode("utf-8"),
        "callback": hook.local_url + "/alone",
    })
    assert answer.status_code == 200, answer.text
    assert answer.json()["hash"] == song_id(song)
    wait_for("the callback", lambda: hook.got)
    path, _, body = hook.got[0]
    assert path == "/alone"
    assert jsonpickle.decode(body.decode()) is None
    assert track(course, song_id(song), "vocals").status_code == 200


def test_a_callback_that_nobody_answers_does_not_fail_the_job(course, worker):
    ident = separate(course, mp3(tone=6), {"url": "http://localhost:1/", "data": {}})
    wait_done(course, ident)


@pytest.mark.parametrize("method", [HTTP.get, HTTP.delete])
def test_tracks_are_removed(course, worker, method):
    ident = separate(course, mp3(tone=7))
    wait_done(course, ident)
    for count, name in enumerate(TRACKS, 1):
        answer = method(f"{course.url}/apiv1/remove/{ident}/{name}.mp3", timeout=DEADLINE_S)
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert said["hash"] == ident and said["track"].startswith(name)
        assert said["reason"] == "Track removed"
        gone = track(course, ident, name)
        assert gone.status_code in (404, 409), gone.text
        wait_for("the object to go", lambda: len(keys(course, "output", ident)) == 4 - count)
        assert method(f"{course.url}/apiv1/remove/{ident}/{name}",
                      timeout=DEADLINE_S).status_code == 404
    assert track(course, ident, "bass").status_code == 404


def test_log_lines_can_be_popped(course, worker):
    with course.redis.client() as client:
        client.delete("logging")
        ident = separate(course, mp3(tone=8))
        lines = []
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            popped = client.blpop("logging", timeout=5)  # as the lab's logs.py does it
            if popped:
                lines.append(popped[1].decode())
            kinds = {re.match(r"[^:]+\.(rest|worker)\.(debug|info|warn|warning|error):.", line)
                     for line in lines}
            assert None not in kinds, lines
            if {"rest", "worker"} <= {kind[1] for kind in kinds}:
                break
        else:
            raise AssertionError(lines)
        assert any(".rest.info:" in line for line in lines), lines
    wait_done(course, ident)


@pytest.mark.parametrize("member", ["songhash", "hash"])
def test_jobs_of_other_programs(course, worker, hook, member):
    """Their REST servers store the song as HASH.mp3 and push JSON."""
    song = mp3(tone=20 + len(member))
    ident = song_id(song)
    course.bucket.create_bucket(Bucket="queue")  # as they do, be it there or not
    course.bucket.put_object(Bucket="queue", Key=f"{ident}.mp3", Body=song)
    with course.redis.client() as client:
        client.lpush("toWorker", "no job at all",
                     json.dumps({member: ident, "callback": {"url": hook.local_url + "/theirs",
                                                             "data": {"mp3": "a.mp3"}}}))
    wait_for("the tracks", lambda: track(course, ident, "bass").status_code == 200)
    assert keys(course, "output", ident) == sorted(f"{ident}-{name}.mp3" for name in TRACKS)
    wait_for("the callback", lambda: hook.got)
    assert json.loads(hook.got[0][2]) == {"mp3": "a.mp3"}
    wait_for("the log", lambda: "no job at all" in worker.text())


def test_a_song_lies_where_other_programs_say(course, worker):
    song = mp3(tone=30)
    ident = song_id(song)
    course.bucket.put_object(Bucket="queue", Key="theirs/a song.mp3", Body=song)
    with course.redis.client() as client:
        client.lpush("toWorker", json.dumps({"hash": ident, "bucket": "queue",
                                             "object": "theirs/a song.mp3"}))
    wait_for("the tracks", lambda: track(course, ident, "bass").status_code == 200)
    for name in TRACKS:
        assert HTTP.delete(f"{course.url}/apiv1/remove/{ident}/{name}",
                           timeout=DEADLINE_S).status_code == 200
    assert keys(course, "queue", "theirs/") == []


def test_other_programs_find_what_they_read(course, worker):
    """serve --course-items json: their worker takes a job, and does it not; ours does."""
    port = free_port()
    server = course.serve("--course-items", "json", port=port)
    worker.signal(signal.SIGSTOP)
    song = mp3(tone=31)
    answer = call(HTTP.post, f"{server.url}/apiv1/separate",
                  {"mp3": base64.b64encode(song).decode("utf-8"),
                   "callback": {"url": "http://localhost:5000", "data": [1, "ü"]}})
    ident = jsonpickle.decode(answer.text)["hash"]
    assert keys(course, "queue", ident) == [ident, f"{ident}.mp3"]
    with course.redis.client() as client:
        work = json.loads(client.blpop("toWorker", timeout=5)[1])
    assert work == {
        "songhash": ident, "hash": ident, "bucket": "queue", "object": f"{ident}.mp3",
        "model": "tiny", "callback": {"url": "http://localhost:5000", "data": [1, "ü"]}}
    worker.signal(signal.SIGCONT)
    wait_done(course, ident)
    for name in TRACKS:
        HTTP.delete(f"{course.url}/apiv1/remove/{ident}/{name}", timeout=DEADLINE_S)
    assert keys(course, "queue", ident) == []
    assert server.terminate() == 0


def test_unknown_song_and_track(course):
    assert track(course, "0" * 56, "bass").status_code == 404
    assert track(course, "0" * 56, "bass").json()["reason"]
    assert HTTP.get(f"{course.url}/apiv1/remove/{'0' * 56}/bass",
                    timeout=DEADLINE_S).status_code == 404


def test_a_song_that_cannot_be_used_is_gone_with_its_reason(course, worker):
    ident = separate(course,
                     b"ID3\x03\0\0\0\0\0\0" + b"\xff\xfb\x90\x00" + b"no music at all " * 20)

    wait_for("the job to end", lambda: track(course, ident, "bass").status_code != 409)
    answer = track(course, ident, "bass")
    assert answer.status_code == 410, answer.text
    assert answer.json()["reason"]
