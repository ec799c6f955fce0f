"""What the golden and the reference test share: run the program, read WAV, measure likeness."""

import pathlib
import struct
import subprocess

import numpy as np

MAX_ERROR = 1e-4  # at every sample, full scale 1.0
MIN_SNR_DB = 80.0  # where the stem is louder than LOUD_DBFS
LOUD_DBFS = -50.0
STEMS = ("drums", "bass", "other", "vocals")


def read_wav(path):
    """-> float64 [channels][frames], rate. Knows float32 and 16-bit files, extensible headers
    included."""
    data = pathlib.Path(path).read_bytes()
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE", f"{path}: not a WAV file"
    at, kind = 12, None
    while True:
        name, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if name == b"fmt ":
            kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, at + 8)
            if kind == 0xFFFE:
                kind = struct.unpack_from("<H", data, at + 8 + 24)[0]
        elif name == b"data":
            break
        at += 8 + size + size % 2
    assert (kind, bits) in ((3, 32), (1, 16)), f"{path}: format {kind} with {bits} bits"
    body = np.frombuffer(data, "<f4" if kind == 3 else "<i2", size * 8 // bits, at + 8)
    scale = 1.0 if kind == 3 else 1 / 32768
    return body.reshape(-1, channels).T.astype(np.float64) * scale, rate


def dbfs(signal):
    return 20 * np.log10(max(float(np.sqrt(np.mean(np.square(signal)))), 1e-30))


def snr_db(reference, signal):
    return dbfs(reference) - dbfs(signal - reference)


def separate(msaas, files, out, *options):
    """Runs `msaas separate` on files; stems are out/TRACK/STEM.wav."""
    command = [msaas, "separate", "-q", "--wav", "--float32", "--clip-mode", "none", "-o", out,
               *options, *files]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    said = f"{' '.join(map(str, command))}\nexit code {run.returncode}\n{run.stderr}"
    assert run.returncode == 0, said


def stem_path(out, track, stem):
    """Where `separate` put a stem: below the model's folder, as Demucs does."""
    found = list(pathlib.Path(out).glob(f"**/{track}/{stem}.wav"))
    assert len(found) == 1, f"{out}: {track}/{stem}.wav is there {len(found)} times"
    return found[0]
