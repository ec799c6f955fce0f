"""tus-js-client, as browsers and Node use it: killed and resumed at random points, with servers
that are killed and replicas that take over."""

import os
import pathlib
import random
import shutil
import subprocess

import harness
import pytest
from harness import HTTP, wait_for
from test_uploads import PIECE, TUS, large_song, make_job, offset

HERE = pathlib.Path(__file__).resolve().parent / "tus"
ROUNDS = 30 if os.environ.get("E2E_FULL") else 4


@pytest.fixture(scope="session")
def modules(tmp_path_factory):
    """The folder of the client's package, as its lock file says."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm or node is missing")
    folder = tmp_path_factory.mktemp("tus")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    done = subprocess.run(["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"],
                          cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install tus-js-client: {done.stderr[-300:]}")
    return folder


@pytest.fixture
def start(site, modules):
    def start(url, song, chunk_bytes=0, **env):
        env = {key: value for key, value in os.environ.items()
               if not key.lower().endswith("_proxy")} | {"MSAAS_NODE_MODULES": str(modules)} | env
        process = harness.Process(
            ["node", HERE / "client.mjs", url + "/apiv2/uploads", song,
             site.folder / "storage.json", chunk_bytes],
            site.folder / f"client{len(site.processes):03}.log", env=env)
        site.processes.append(process)
        return process

    return start


def ended(process):
    assert process.wait() == 0, process.text()
    line = process.text().strip().splitlines()[-1]
    assert line.startswith("done "), line
    return "/" + line.split("/", 3)[3]


@pytest.mark.parametrize("with_data", ["0", "1"])
@pytest.mark.parametrize("chunk_bytes", [0, 3_000_000])
def test_sends(site, start, chunk_bytes, with_data):
    site.serve()
    song = large_song(PIECE + 12345, f"js {chunk_bytes} {with_data}")
    path = site.folder / "song.wav"
    path.write_bytes(song)
    upload = ended(start(site.url, path, chunk_bytes, TUS_WITH_DATA=with_data))
    assert offset(site, upload) == len(song)
    job = make_job(site, upload)
    assert job["id"] == harness.song_id(song)
    assert job["input"]["name"] == "song.wav"


def has_sent(process, goal):
    """Whether the client has sent so many bytes, or has ended."""
    lines = process.text().split()
    return not process.running() or any(line.isdigit() and int(line) > goal for line in lines)


def test_killed_at_random(site, start):
    """Clients and servers die at random, and two servers take turns."""
    rng = random.Random(12)
    serves = [site.serve(), site.serve(port=harness.free_port())]
    ports = [int(serve.url.rpartition(":")[2]) for serve in serves]
    for number in range(ROUNDS):
        song = large_song(6 * PIECE + number, f"random {number}")
        path = site.folder / f"song{number}.wav"
        path.write_bytes(song)
        chunk_bytes = rng.choice([0, 0, 1_000_000, 5_000_000])
        for kill in range(rng.randrange(1, 5)):
            which = rng.randrange(2)
            process = start(f"http://127.0.0.1:{ports[which]}", path, chunk_bytes)
            goal = rng.randrange(len(song))
            wait_for("some bytes", lambda: has_sent(process, goal))
            if kill % 2:
                serves[which].kill()
                serves[which] = site.serve(port=ports[which])
            if "done" in process.text():
                break
            process.kill()
        which = rng.randrange(2)
        process = start(f"http://127.0.0.1:{ports[which]}", path, chunk_bytes)
        upload = ended(process)
        assert offset(site, upload) == len(song)
        assert make_job(site, upload)["id"] == harness.song_id(song)
        assert HTTP.delete(site.url + upload, headers=TUS).status_code == 204
