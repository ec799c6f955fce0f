#!/usr/bin/python3
"""renders.py [--minutes N] [--long-minutes N] [--rounds N]: what it costs `msaas serve` to make
formats, mixes, stem files and archives of finished stems, on a store in a folder.

Of a song of --minutes each answer's time and that of serve's processors: the least and the median
of the rounds. Of one of --long-minutes how far serve's memory grows. No worker runs meanwhile, so
nothing can be separated again. E2E_MSAAS and E2E_MAKE_MODEL name the programs.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TEST = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TEST / "e2e"), str(TEST / "tools")]
import harness  # noqa: E402

NO_DRUMS = "mix?gains=drums:-inf,bass:0,other:0,vocals:-6"
SHORT = (f"{NO_DRUMS}&format=mp3", f"{NO_DRUMS}&format=m4a", f"{NO_DRUMS}&format=opus",
         f"{NO_DRUMS}&format=wav", "stems/vocals.flac", "stems/vocals.mp3", "stems/vocals.m4a",
         "stem.mp4", "stem.mp4?codec=alac", "stems.zip")
LONG = (f"{NO_DRUMS}&format=mp3", f"{NO_DRUMS}&format=wav", "stems.zip", "stems.zip?format=wav")


def noise(folder, minutes):
    path = folder / f"noise{minutes:g}.flac"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i",
                    "anoisesrc=colour=pink:amplitude=0.4:sample_rate=44100", "-t",
                    str(60 * minutes), "-ac", "2", "-compression_level", "0", path], check=True)
    return path


def cpu_s(process):
    fields = pathlib.Path(f"/proc/{process.popen.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(process):
    status = pathlib.Path(f"/proc/{process.popen.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def forget_peak(process):
    pathlib.Path(f"/proc/{process.popen.pid}/clear_refs").write_text("5")


def separate(site, path):
    """The finished job; its worker is gone."""
    with path.open("rb") as song:
        answer = site.post("/apiv2/jobs", data=song, headers={"Content-Type": "audio/flac"})
    assert answer.status_code == 202, answer.text
    worker = site.work()
    ident = answer.json()["id"]
    harness.wait_for("the stems", lambda: site.job(ident)["state"] == "succeeded", 1200, 0.2)
    worker.terminate()
    return ident


def fetch(site, serve, ident, path):
    """(seconds, seconds of processors, MiB, MiB that serve's memory was higher meanwhile)"""
    forget_peak(serve)
    rss, cpu, size, begun = serve.rss_kib() / 1024, cpu_s(serve), 0, time.monotonic()
    with site.get(f"/apiv2/jobs/{ident}/{path}", stream=True) as answer:
        assert answer.status_code == 200, answer.text
        for piece in answer.iter_content(1 << 20):
            size += len(piece)
    return time.monotonic() - begun, cpu_s(serve) - cpu, size / 2**20, peak_mib(serve) - rss


def measure(site, serve, ident, paths, rounds):
    print("| answer | s, least | s, median | processor s, least | MiB | memory, MiB more |")
    print("|---|---|---|---|---|---|")
    for path in paths:
        took, used, sizes, grown = zip(*(fetch(site, serve, ident, path) for _ in range(rounds)),
                                       strict=True)
        print(f"| `{path}` | {min(took):.2f} | {statistics.median(took):.2f} | {min(used):.2f} | "
              f"{sizes[0]:.0f} | {max(grown):.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--long-minutes", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        site = harness.Site(folder / "site", harness.make_models(folder / "models"), {
            "MSAAS_QUEUE": f"sqlite:{folder}/queue.db", "MSAAS_STORE": f"file:{folder}/objects"})
        try:
            serve = site.serve("--max-song-mb", "4000", "--scratch", folder)
            for minutes, paths, rounds in ((wanted.minutes, SHORT, wanted.rounds),
                                           (wanted.long_minutes, LONG, 1)):
                if minutes > 0:
                    ident = separate(site, noise(folder, minutes))
                    print(f"\n{minutes:g} minutes of noise; load {os.getloadavg()[0]:.1f} on "
                          f"{os.cpu_count()} processors\n", flush=True)
                    measure(site, serve, ident, paths, rounds)
        finally:
            site.stop()


if __name__ == "__main__":
    main()
