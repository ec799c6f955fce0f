#!/usr/bin/python3
"""`msaas separate` at its work: names, formats, folders, reports, interruption."""

import fcntl
import itertools
import json
import os
import pathlib
import pty
import signal
import struct
import subprocess
import termios
import wave

import cli
from cli import STEMS


def read_terminal(number, until=None):
    """What a terminal shows, to its end or until something stands there."""
    shown = b""
    try:
        while (until is None or until not in shown) and (piece := os.read(number, 65536)):
            shown += piece
    except OSError:  # what Linux says at the end of a terminal
        pass
    return shown


class Results(cli.Case):
    def test_four_stems_as_long_as_the_song_and_the_same_again(self):
        frames = cli.make_wav(self.folder / "a song.wav")
        out, err = self.run_msaas("separate", "a song.wav", "--lanes", 1)
        self.assertEqual(err, "")
        self.assertIn("separated/tiny/a song/vocals.wav", out)
        self.assertEqual(self.files("separated/tiny/a song"), STEMS)
        for name in STEMS:
            with wave.open(str(self.folder / "separated/tiny/a song" / name)) as stem:
                self.assertEqual(stem.getparams()[:4], (2, 2, cli.RATE_HZ, frames))
        self.run_msaas("separate", "a song.wav", "--lanes", 3, "-o", "again", "--overlap=0.25")
        for name in STEMS:
            first, second = (self.folder / top / "tiny/a song" / name
                             for top in ("separated", "again"))
            self.assertEqual(first.read_bytes(), second.read_bytes())

    def test_the_same_bytes_in_any_batch_on_any_number_of_lanes(self):
        bag = ["--networks", "2", "--stems", "vocals,other", "--name", "bag"]
        make_bag = [cli.MAKE_MODEL, "--tiny", *bag, self.models]
        subprocess.run(make_bag, check=True, timeout=cli.DEADLINE_S)
        cli.make_wav(self.folder / "x.wav", seconds=3)  # 8 segments
        common = ["separate", "x.wav", "--float32", "--clip-mode=none"]
        runs = [("tiny", *run) for run in itertools.product((1, 2), (1, 2, 3, 5))]
        for model, lanes, batch in runs + [("bag", 1, 1), ("bag", 2, 3)]:
            out = f"{lanes} lanes, batch {batch}"
            with self.subTest(model=model, run=out):
                self.run_msaas(*common, "-n", model, "-o", out, "--lanes", lanes, "--batch", batch)
                stems = self.files(f"{out}/{model}/x")
                self.assertEqual(len(stems), 4 if model == "tiny" else 2)
                for stem in stems:
                    tops = ("1 lanes, batch 1", out)
                    one, more = (self.folder / top / model / "x" / stem for top in tops)
                    self.assertEqual(one.read_bytes(), more.read_bytes())

    def test_stems_and_formats(self):
        cli.make_wav(self.folder / "x.wav")
        for arguments, expected in [
            (["--two-stems", "vocals", "--mp3", "--mp3-bitrate", 128],
             ["x/no_vocals.mp3", "x/vocals.mp3"]),
            (["--two-stems", "bass", "--other-method=minus", "--flac"],
             ["x/bass.flac", "x/minus_bass.flac"]),
            (["--two-stems", "bass", "--other-method=none", "--opus"], ["x/bass.opus"]),
            (["--stems", "vocals,drums", "--m4a", "--bitrate=96"], ["x/drums.m4a", "x/vocals.m4a"]),
            (
                ["--stems=bass", "--wav", "--float32", "--filename",
                 "{stem}/{model}-{track}.{trackext}.{ext}"],
                ["bass/tiny-x.wav.wav"],
            ),
        ]:
            with self.subTest(arguments=arguments):
                self.run_msaas("separate", *arguments, "-o", expected[0].replace("/", "_"), "x.wav")
                self.assertEqual(self.files(expected[0].replace("/", "_") + "/tiny"), expected)

    def test_names_of_all_kinds(self):
        names = ["Ünïcödé – 日本語 😀.wav", "-dash.wav", "noextension", "new\nline\x1b[31m.wav",
                 "{stem}.wav", "a.b.wav"]
        for name in names:
            cli.make_wav(self.folder / name, seconds=0.1)
        raw = os.path.join(os.fsencode(self.folder), b"latin\xe9.wav")
        (self.folder / "a.b.wav").rename(os.fsdecode(raw))
        out, _ = self.run_msaas("separate", "--stems", "bass", "--", *names[:-1], "latin\udce9.wav")
        tracks = {os.path.basename(os.path.dirname(os.fsencode(p)))
                  for p in (self.folder / "separated").rglob("*.wav")}
        expected = {os.fsencode(n[:-4] if n.endswith(".wav") else n)
                    for n in names[:-1]} | {b"latin\xe9"}
        self.assertEqual(tracks, expected)
        self.assertNotIn("\x1b", out)

    def test_a_name_cannot_leave_the_folder(self):
        cli.make_wav(self.folder / "...wav", seconds=0.1)  # its track is ".."
        _, err = self.run_msaas("separate", "...wav", expect=1)
        self.assertIn('...wav: cannot name its stems: "tiny/../drums.wav" has ".." as a part', err)
        self.assertFalse((self.folder / "separated").exists())

    def test_folders(self):
        for name in ["m/b.wav", "m/a.wav", "m/cd 1/a.wav", "m/.hidden.wav", "m/cd 1/notes.txt"]:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            cli.make_wav(self.folder / name, seconds=0.1)
        (self.folder / "m/cd 1/loop").symlink_to("..")
        expected = ["tiny/a/bass.wav", "tiny/b/bass.wav", "tiny/cd 1/a/bass.wav"]
        arguments = ["separate", "-r", "--stems=bass", "-o", "m/stems", "m", "m/a.wav"]
        for _ in range(2):  # the second time, the stems of the first lie in the same folder
            out, _ = self.run_msaas(*arguments)
            self.assertEqual(self.files("m/stems"), expected)
            self.assertEqual(out.count("real time"), 3)
        _, err = self.run_msaas("separate", "m", expect=1)
        self.assertIn("m: is a folder; use -r", err)

    def test_collisions_are_refused_before_work(self):
        (self.folder / "other").mkdir()
        for name in ("a.wav", "other/a.wav"):
            cli.make_wav(self.folder / name, seconds=0.1)
        out, err = self.run_msaas("separate", "a.wav", "other/a.wav", "./a.wav", expect=1)
        self.assertIn("other/a.wav: its stems would overwrite those of a.wav", err)
        self.assertEqual(out.count("real time"), 1)
        self.assertEqual(self.files("separated/tiny/a"), STEMS)

    def test_a_stem_never_overwrites_its_song(self):
        song = self.folder / "out/tiny/bass.wav"
        song.parent.mkdir(parents=True)
        cli.make_wav(song, seconds=0.1)
        before = song.read_bytes()
        _, err = self.run_msaas("separate", "-o", "out", "--filename={stem}.{ext}",
                                "out/tiny/bass.wav", expect=1)
        self.assertIn("out/tiny/bass.wav: a stem would overwrite the song itself", err)
        self.assertEqual(song.read_bytes(), before)
        self.assertEqual(self.files("out"), ["tiny/bass.wav"])

    def test_the_model_by_its_path(self):
        cli.make_wav(self.folder / "x.wav", seconds=0.1)
        for path in (self.models, self.models / "tiny.json"):
            self.run_msaas("separate", "-q", "-n", path, "--models-dir", "nowhere", "x.wav")
            self.assertEqual(self.files("separated/tiny/x"), STEMS)


class Reports(cli.Case):
    def events(self, *arguments, expect=0):
        out, err = self.run_msaas("separate", "--json", *arguments, expect=expect)
        return [json.loads(line) for line in out.splitlines()], err

    def test_json(self):
        cli.make_wav(self.folder / "é.wav", seconds=2)
        events, err = self.events("missing.wav", "é.wav", expect=1)
        self.assertIn("missing.wav: No such file", err)
        kinds = [event["event"] for event in events]
        self.assertEqual(kinds[:2] + kinds[-1:], ["error", "start", "done"])
        self.assertEqual(set(kinds[2:-1]), {"progress"})
        self.assertEqual((events[0]["file"], events[0]["code"]), ("missing.wav", "not_found"))
        percents = [event["percent"] for event in events[2:-1]]
        self.assertEqual(percents, sorted(percents))
        self.assertEqual(percents[-1], 100)
        done = events[-1]
        self.assertEqual((done["file"], done["audio_seconds"], done["damaged"]),
                         ("é.wav", 2, False))
        self.assertAlmostEqual(done["speed"], 2 / done["seconds"], places=3)
        self.assertEqual(done["precision"], "float32")
        self.assertEqual([stem["name"] for stem in done["stems"]],
                         ["drums", "bass", "other", "vocals"])
        for stem in done["stems"]:
            self.assertTrue((self.folder / stem["path"]).is_file())

    def test_json_names_the_precision(self):
        cli.make_wav(self.folder / "x.wav", seconds=0.1)
        events, _ = self.events("--precision", "bf16", "x.wav")
        self.assertEqual(events[-1]["precision"], "bf16")
        events, _ = self.events("--precision", "auto", "x.wav")
        self.assertIn(events[-1]["precision"], ("float32", "bf16"))

    def test_bf16_is_for_segments_that_are_half_sound(self):
        """The others are computed in float32, alone and beside others in a batch."""
        cli.make_wav(self.folder / "short.wav", seconds=0.1)
        cli.make_wav(self.folder / "long.wav", seconds=3)
        for precision in ("float32", "bf16"):
            for batch in (1, 4):
                self.run_msaas("separate", "--float32", "--precision", precision, "--batch", batch,
                               "-o", f"{precision} {batch}", "short.wav", "long.wav")
        for name in STEMS:
            def stem(run, song):
                return (self.folder / run / "tiny" / song / name).read_bytes()
            self.assertEqual(stem("bf16 1", "short"), stem("float32 1", "short"))
            self.assertNotEqual(stem("bf16 1", "long"), stem("float32 1", "long"))
            for song in ("short", "long"):
                self.assertEqual(stem("bf16 1", song), stem("bf16 4", song))

    def test_json_of_what_stops_everything(self):
        cli.make_wav(self.folder / "x.wav", seconds=0.1)
        events, err = self.events("-n", "unknown", "x.wav", expect=1)
        self.assertEqual([(e["event"], e["file"], e["code"]) for e in events],
                         [("error", None, "not_found")])
        self.assertIn(events[0]["message"], err)

    def test_quiet_and_verbose(self):
        cli.make_wav(self.folder / "x.wav", seconds=0.1)
        self.assertEqual(self.run_msaas("separate", "-q", "x.wav"), ("", ""))
        out, err = self.run_msaas("separate", "-v", "--lanes=1", "x.wav")
        self.assertIn("x.wav:\n  separated/tiny/x/drums.wav\n", out)
        self.assertIn("model tiny (none: random values), float32, 1 lane, batch 1\n", err)
        self.assertRegex(err, r"decode .* separate .* encode .* peak memory")

    def test_a_bar_on_a_terminal_only(self):
        cli.make_wav(self.folder / "x.wav", seconds=1)
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        try:
            out, _ = self.run_msaas("separate", "x.wav", stderr=theirs)
        finally:
            os.close(theirs)
        shown = read_terminal(ours)
        self.assertRegex(shown.decode(),
                         r"x\.wav\r\n.*  0% -+\r.* 100% #+ .*real time, 0:00:00 left.*\r\x1b\[K$")
        self.assertNotIn("\x1b", out)

    def test_the_bar_fits_the_terminal(self):
        cli.make_wav(self.folder / "x.wav", seconds=1)
        for columns in (200, 60, 40, 20):
            with self.subTest(columns=columns):
                ours, theirs = pty.openpty()
                fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                try:
                    self.run_msaas("separate", "x.wav", stderr=theirs)
                finally:
                    os.close(theirs)
                lines = read_terminal(ours).decode().split("\r\x1b[K")
                os.close(ours)
                self.assertTrue(any("100%" in line for line in lines), lines)
                self.assertLess(max(len(line.split("\n")[-1]) for line in lines), columns)

    def test_no_bar_on_a_terminal_that_cannot_draw(self):
        cli.make_wav(self.folder / "x.wav", seconds=0.1)
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        try:
            self.run_msaas("separate", "x.wav", stderr=theirs,
                           env={**self.environment(), "TERM": "dumb"})
        finally:
            os.close(theirs)
        self.assertNotIn(b"\x1b", read_terminal(ours))

    def test_a_full_standard_output(self):
        cli.make_wav(self.folder / "x.wav", seconds=0.1)
        with open("/dev/full", "w", encoding="ascii") as full:
            _, err = self.run_msaas("separate", "x.wav", stdout=full, expect=1)
        self.assertIn("standard output: No space left", err)
        self.assertEqual(self.files("separated/tiny/x"), STEMS)


class Interruption(cli.Case):
    def interrupt(self, number, times):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also under nohup
        cli.make_wav(self.folder / "long.wav", seconds=60)
        cli.make_wav(self.folder / "next.wav", seconds=0.1)
        with self.popen("separate", "--json", "--lanes=1", "--overlap=0.9", "long.wav",
                        "next.wav") as process:
            for line in process.stdout:
                if json.loads(line)["event"] == "progress":
                    break
            for _ in range(times):
                process.send_signal(number)
            out, err = process.communicate(timeout=cli.DEADLINE_S)
        return process.returncode, [json.loads(line) for line in out.splitlines()], err

    def test_leaves_nothing_behind(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                code, events, err = self.interrupt(number, 1)
                self.assertEqual((code, err), (130, ""))
                self.assertEqual((events[-2]["file"], events[-2]["code"]), ("long.wav", "canceled"))
                self.assertNotIn("next.wav", [event["file"] for event in events])
                self.assertEqual(self.files() + self.folders(), [])

    def test_a_terminal_shows_that_it_was_heard(self):
        cli.make_wav(self.folder / "long.wav", seconds=60)
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        with self.popen("separate", "--lanes=1", "--overlap=0.9", "long.wav",
                        stderr=theirs) as process:
            os.close(theirs)
            read_terminal(ours, until=b"  0% -")
            process.send_signal(signal.SIGINT)
            shown = read_terminal(ours)
            process.communicate(timeout=cli.DEADLINE_S)
        self.assertIn(b"\r\x1b[Kmsaas: stopping; Ctrl-C again stops at once\r\n", shown)
        self.assertEqual(process.returncode, 130)

    def test_the_second_time_ends_at_once(self):
        code, _, _ = self.interrupt(signal.SIGINT, 2)
        self.assertIn(code, (130, -signal.SIGINT))
        self.assertEqual([name for name in self.files()
                          if not pathlib.Path(name).name.startswith(".")], [])


if __name__ == "__main__":
    cli.main()
