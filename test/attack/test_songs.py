"""Files that harm whoever decodes them without limits (test/tools/hostile_songs.py), one by one and
as jobs; mutated songs by the thousand.

ATTACK_FULL=1: all files instead of a few, and 10^6 mutations; ATTACK_ROUNDS says how many else.
"""

import os
import pathlib
import subprocess

import hostile_songs  # of test/tools, where harness looks
import pytest
from harness import DEADLINE_S, wait_for, wav

FULL = bool(os.environ.get("ATTACK_FULL"))
ROUNDS = int(os.environ.get("ATTACK_ROUNDS", 1_000_000 if FULL else 300))
DECODE_SONG, STORM = os.environ["ATTACK_DECODE_SONG"], os.environ["ATTACK_STORM"]
MOST_CPU_S = 10
MOST_MIB = 512

# One of each kind of harm. A decoder without limits takes minutes or gigabytes for most of them;
# m4a_far looks as if the disk had failed.
FEW = ["id3_texts_50k.mp3", "caf_strings.caf", "m4a_68k.m4a", "m4a_far.m4a", "flac_both.flac",
       "adts_changing.aac", "mp3_zeros.mp3", "noise.mp3"]
# Hours of honest audio take the time that they take.
HONEST = ["silence_2h.flac"]


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    if FULL:
        return hostile_songs.make(folder)
    for name in FEW:
        (folder / name).write_bytes(hostile_songs.BY_HAND[name]())
    return sorted(folder.iterdir())


def test_limits_hold(songs):
    """Each by itself, twice, as a job reads it: an end within the limits, and a reason."""
    worst_s = worst_mib = 0
    for song in songs:
        said = subprocess.run([DECODE_SONG, song], capture_output=True, text=True,
                              timeout=10 * DEADLINE_S, check=True).stdout.rstrip("\n")
        result, seconds, cpu_s, mib, text = said.split("\t")
        assert result in ("ok", "input") or "was waited for" in text, said  # a starved machine
        assert result == "ok" or text.startswith(f"{song}: "), said
        if song.name not in HONEST:
            assert float(cpu_s) < MOST_CPU_S, f"{song.name}: {said}"
            worst_s = max(worst_s, float(cpu_s))
        assert int(mib) < MOST_MIB, f"{song.name}: {said}"
        worst_mib = max(worst_mib, int(mib))
    print(f"{len(songs)} hostile files: at most {worst_s:.1f} s of processor time, {worst_mib} MiB")


def test_the_worker_lives(make_embedded, songs):
    """Every file as a job: it ends, and the same worker separates the next good song."""
    site = make_embedded()
    site.serve("--max-song-mb", 100)
    worker = site.work()
    idents = []
    for song in songs:
        answer = site.post("/apiv2/jobs", data=song.read_bytes(),
                           headers={"Content-Type": "application/octet-stream"})
        assert answer.status_code in (202, 422), answer.text  # some are no audio at first sight
        if answer.status_code == 202 and song.name not in HONEST:
            idents.append(answer.json()["id"])
    assert idents
    states = {"succeeded": 0, "failed": 0}
    for ident in idents:
        job = wait_for(f"{ident[:8]} to end", lambda ident=ident: next(
            (job for job in [site.job(ident)] if job["state"] in states), None), 10 * DEADLINE_S)
        states[job["state"]] += 1
        assert job["state"] == "succeeded" or job["error"]["code"] == "input", job
        assert worker.running(), worker.text()[-3000:]
    site.finished(site.submit(wav())["id"])
    assert worker.running(), worker.text()[-3000:]
    site.stop()
    print(f"{len(idents)} jobs: {states}; the worker lived")


def test_mutations(tmp_path):
    corpus = pathlib.Path(__file__).parent.parent / "fuzz" / "make_decode_corpus.sh"
    subprocess.run([corpus, tmp_path / "seeds"], check=True, timeout=DEADLINE_S)
    done = subprocess.run([STORM, str(ROUNDS), "1", tmp_path / "seeds"], capture_output=True,
                          text=True, cwd=tmp_path, check=False)
    print(done.stdout.splitlines()[-1] if done.stdout else done.stderr)
    assert done.returncode == 0, done.stdout[-3000:]
