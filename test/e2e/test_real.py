"""One real song with the real model, all the way through `msaas up`. Skipped where model or song
are not installed."""

import json
import pathlib
import subprocess

import pytest
from harness import DEADLINE_S, MSAAS, STEMS

SONG = pathlib.Path("/usr/share/games/csmash/danslatristesse2-48.ogg")
SECONDS = 8


def probe_seconds(path):
    shown = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of",
                            "json", path],
                           capture_output=True, check=True, timeout=DEADLINE_S)
    return float(json.loads(shown.stdout)["format"]["duration"])


def test_a_real_song(make_site, tmp_path):
    listed = subprocess.run([MSAAS, "model", "list", "--json"], capture_output=True, text=True,
                            check=True).stdout
    path = next(row["path"] for row in map(json.loads, listed.splitlines())
                if row["name"] == "htdemucs")
    if path is None:
        pytest.skip("no htdemucs: scripts/fetch-model")
    folder = pathlib.Path(path).parent
    song = tmp_path / "song.ogg"
    noise = ["-f", "lavfi", "-i", f"anoisesrc=d={SECONDS}:c=pink"]
    source = ["-ss", 30, "-t", SECONDS, "-i", SONG] if SONG.exists() else noise
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *map(str, source), "-c:a", "libvorbis",
                    str(song)], check=True, timeout=DEADLINE_S)
    seconds = probe_seconds(song)

    site = make_site({"MSAAS_MODEL": "htdemucs", "MSAAS_MODELS_DIR": folder})
    try:
        site.up("--workers", 1)
        answer = site.post("/apiv2/jobs",
                           files={"file": ("song.ogg", song.read_bytes(), "audio/ogg")},
                           data={"format": "wav"})
        assert answer.status_code == 202, answer.text
        job = site.finished(answer.json()["id"])
        site.check_result(job)
        assert sorted(stem["name"] for stem in job["stems"]) == sorted(STEMS)
        for stem in job["stems"]:
            file = tmp_path / f"{stem['name']}.wav"
            file.write_bytes(site.get(f"/apiv2/jobs/{job['id']}/stems/{stem['name']}.wav").content)
            assert abs(probe_seconds(file) - seconds) < 0.01
        # The stems add up to the song.
        sums = tmp_path / "rest.wav"
        inputs = [part for name in STEMS for part in ("-i", str(tmp_path / f"{name}.wav"))]
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *inputs, "-i", str(song),
                        "-filter_complex",
                        "[4]aresample=44100,volume=-1[n];[0][1][2][3][n]amix=inputs=5:normalize=0",
                        str(sums)], check=True, timeout=DEADLINE_S)
        assert loudness(sums) < loudness(song) - 10, (loudness(sums), loudness(song))
    finally:
        site.stop()


def loudness(path):
    """Mean level in dB."""
    said = subprocess.run(["ffmpeg", "-v", "info", "-nostdin", "-i", str(path), "-af",
                           "volumedetect", "-f", "null", "-"],
                          capture_output=True, text=True, check=True, timeout=DEADLINE_S).stderr
    return float(said.split("mean_volume:")[1].split()[0])
