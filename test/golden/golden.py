#!/usr/bin/python3
"""golden.py MSAAS FOLDER: compares `msaas separate` with the reference implementation.

FOLDER (MSAAS_GOLDEN_DIR goes first) holds a folder for each clip: mix.wav, perhaps mix.mp3, and the
reference's stems in float32. It is not part of this repository. Without it the test is skipped, and
reference.py stands for it.
"""

import os
import pathlib
import shutil
import sys
import tempfile

import numpy as np

import audio

MIN_MP3_SNR_DB = 60.0
# The gate of --precision bf16, without which auto must not take it.
MIN_BF16_SNR_DB = 40.0
MAX_BF16_QUIET_DBFS = -75.0  # error of stems no louder than audio.LOUD_DBFS
SKIPPED = 77


def compare(clip, out, min_snr_db, max_error, max_quiet_dbfs=np.inf):
    """Prints a line for each stem; returns how many are not like the reference."""
    failures = 0
    for stem in audio.STEMS:
        reference, _ = audio.read_wav(clip / f"{stem}.wav")
        ours, rate = audio.read_wav(audio.stem_path(out, clip.name, stem))
        if ours.shape != reference.shape or rate != 44100:
            print(f"{clip.name:10} {stem:7} {ours.shape} at {rate} Hz, not {reference.shape}  "
                  "FAILED")
            failures += 1
            continue
        error, snr = np.abs(ours - reference).max(), audio.snr_db(reference, ours)
        level = audio.dbfs(reference)
        loud = level >= audio.LOUD_DBFS
        good = error <= max_error and (snr >= min_snr_db if loud else level - snr <= max_quiet_dbfs)
        failures += not good
        print(f"{clip.name:10} {stem:7} {level:7.1f} dBFS  largest error {error:.2e}  "
              f"SNR {snr:6.1f} dB{'' if good else '  FAILED'}")
    return failures


def main():
    msaas = pathlib.Path(sys.argv[1]).resolve()
    golden = pathlib.Path(os.environ.get("MSAAS_GOLDEN_DIR") or sys.argv[2])
    clips = sorted(path.parent for path in golden.glob("*/mix.wav"))
    if not clips:
        print("skipped: no clips with results of the reference implementation in "
              f"{golden} (or MSAAS_GOLDEN_DIR)")
        return SKIPPED

    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        songs = {}
        for kind in ("wav", "mp3"):
            (folder / kind).mkdir()
            for clip in clips:
                if (clip / f"mix.{kind}").exists():
                    songs.setdefault(kind, []).append(folder / kind / f"{clip.name}.{kind}")
                    shutil.copy(clip / f"mix.{kind}", songs[kind][-1])
        for lanes in (1, 2, 3):
            audio.separate(msaas, songs["wav"], folder / f"lanes{lanes}", "--lanes", str(lanes))
        print("from mix.wav:")
        for clip in clips:
            failures += compare(clip, folder / "lanes1", audio.MIN_SNR_DB, audio.MAX_ERROR)
            for lanes in (2, 3):
                for stem in audio.STEMS:
                    one, more = (audio.stem_path(folder / f"lanes{n}", clip.name, stem)
                                 for n in (1, lanes))
                    if one.read_bytes() != more.read_bytes():
                        print(f"{clip.name} {stem}: {lanes} lanes give other bytes than one  "
                              "FAILED")
                        failures += 1
        print("from mix.wav, in bf16:")
        audio.separate(msaas, songs["wav"], folder / "bf16", "--precision", "bf16")
        for clip in clips:
            failures += compare(clip, folder / "bf16", MIN_BF16_SNR_DB, np.inf, MAX_BF16_QUIET_DBFS)
        if "mp3" in songs:
            print("from mix.mp3:")
            audio.separate(msaas, songs["mp3"], folder / "mp3out", "--lanes", "2")
            for song in songs["mp3"]:
                failures += compare(golden / song.stem, folder / "mp3out", MIN_MP3_SNR_DB, np.inf)
    print(f"{failures} failures" if failures else
          "like the reference; same bytes for 1, 2 and 3 lanes")
    return 1 if failures else 0


sys.exit(main())
