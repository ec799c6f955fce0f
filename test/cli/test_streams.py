#!/usr/bin/python3
"""`msaas separate` in a pipe: songs from standard input, a stem or a zip to standard output; zips
as files; and the options that those know who come from Demucs."""

import json
import os
import pty
import signal
import subprocess
import tempfile
import zipfile

import cli
from cli import STEMS


class Streams(cli.Case):
    """The folder of temporary files is the test's own, and empty after each."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="msaas-cli-")
        self.addCleanup(folder.cleanup)
        self.temporary = folder.name
        self.addCleanup(lambda: self.assertEqual(os.listdir(self.temporary), []))
        cli.make_wav(self.folder / "x.wav")
        self.run_msaas("separate", "-q", "-o", "plain", "x.wav")

    def environment(self):
        return {**super().environment(), "TMPDIR": self.temporary}

    def plain(self, stem):
        return (self.folder / "plain/tiny/x" / stem).read_bytes()

    def to_output(self, *arguments, expect=0, **options):
        """What is on standard output, and on standard error."""
        with open(self.folder / "out", "wb") as out:
            _, err = self.run_msaas("separate", "-o", "-", *arguments, expect=expect, stdout=out,
                                    **options)
        return (self.folder / "out").read_bytes(), err


class Input(Streams):
    def test_a_file_or_a_pipe(self):
        with open(self.folder / "x.wav", "rb") as song:
            out, _ = self.run_msaas("separate", "-", "-", stdin=song)
        self.assertTrue(out.startswith("/dev/stdin:\n  separated/tiny/stdin/drums.wav\n"), out)
        with subprocess.Popen(["cat", self.folder / "x.wav"], stdout=subprocess.PIPE) as cat:
            self.run_msaas("separate", "-o", "piped", "-", stdin=cat.stdout)
        for stem in STEMS:
            for top in ("separated", "piped"):
                made = self.folder / top / "tiny/stdin" / stem
                self.assertEqual(made.read_bytes(), self.plain(stem))

    def test_what_is_no_song(self):
        _, err = self.run_msaas("separate", "-", "x.wav", expect=1)  # /dev/null
        self.assertRegex(err, r"\Amsaas: /dev/stdin: [^\n]+\n\Z")
        self.assertEqual(self.files("separated/tiny/x"), STEMS)  # the others are separated

    def test_a_terminal(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        _, err = self.run_msaas("separate", "-", stdin=theirs, expect=2)
        self.assertIn("standard input is a terminal", err)

    def test_a_full_disk(self):
        cli.make_wav(self.folder / "long.wav", seconds=2)
        with open(self.folder / "long.wav", "rb") as song:
            _, err = self.run_msaas("separate", "-", stdin=song, expect=1,
                                    preexec_fn=cli.limit_file_size(200000))
        self.assertIn(f"{self.temporary}: standard input is kept there: File too large", err)

    def test_interrupted(self):
        with self.popen("separate", "-", stdin=subprocess.PIPE) as process:
            process.stdin.write("RIFF")
            process.stdin.flush()
            while not any(self.is_kept(process)):  # until it reads
                self.assertIsNone(process.poll())
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=cli.DEADLINE_S), 130)

    def is_kept(self, process):
        for number in os.listdir(f"/proc/{process.pid}/fd"):
            try:
                yield os.readlink(f"/proc/{process.pid}/fd/{number}").startswith(self.temporary)
            except FileNotFoundError:
                yield False


class Output(Streams):
    def test_one_stem(self):
        stem, err = self.to_output("--stems", "vocals", "x.wav")
        self.assertEqual(stem, self.plain("vocals.wav"))
        self.assertRegex(err, r"\Ax\.wav:\n  -\n  0\.7 s of music in [^\n]+\n\Z")
        one_of_two = ["--two-stems", "vocals", "--other-method", "none"]
        self.assertEqual(self.to_output("-q", *one_of_two, "x.wav"), (stem, ""))

    def test_from_input_to_output(self):
        with open(self.folder / "x.wav", "rb") as song:
            stem, _ = self.to_output("--stems=bass", "-", stdin=song)
        self.assertEqual(stem, self.plain("bass.wav"))

    def test_json_goes_where_messages_go(self):
        stem, err = self.to_output("--json", "--stems", "vocals", "x.wav")
        self.assertEqual(stem, self.plain("vocals.wav"))
        done = json.loads(err.splitlines()[-1])
        self.assertEqual(done["stems"], [{"name": "vocals", "path": "-"}])

    def test_a_terminal(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        _, err = self.run_msaas("separate", "--stems=bass", "-o", "-", "x.wav", stdout=theirs,
                                expect=2)
        self.assertIn("standard output is a terminal", err)

    def test_what_would_not_fit(self):
        for arguments, says in [
            (["x.wav"], "--out=- is for one stem"),
            (["--two-stems=bass", "x.wav"], "--out=- is for one stem"),
            (["--stems=bass", "x.wav", "x.wav"], "--out=- is for one song"),
            (["--stems=bass", "-r", "."], "--out=- is for one song"),
            (["--stems=bass", "--filename={stem}", "x.wav"], "--filename names files"),
        ]:
            with self.subTest(arguments=arguments):
                out, err = self.to_output(*arguments, expect=2)
                self.assertEqual(out, b"")
                self.assertIn(says, err)

    def test_a_song_that_fails(self):
        (self.folder / "bad.wav").write_text("no music")
        out, err = self.to_output("--stems=bass", "bad.wav", expect=1)
        self.assertEqual(out, b"")
        self.assertIn("bad.wav", err)

    def test_nobody_reads(self):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            _, err = self.run_msaas("separate", "-q", "-o", "-", "--stems=bass", "x.wav",
                                    stdout=writer, expect=1)
        finally:
            os.close(writer)
        self.assertIn("standard output: Broken pipe", err)

    def test_interrupted_while_the_reader_waits(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        with self.popen("separate", "-q", "-o", "-", "--stems=bass", "x.wav",
                        stdout=writer) as process:
            os.close(writer)
            first = os.read(reader, 1)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=cli.DEADLINE_S), 130)
        self.assertEqual(first, b"R")


class Zip(Streams):
    def members(self, path):
        with zipfile.ZipFile(path) as archive:
            self.assertIsNone(archive.testzip())
            return {name: archive.read(name) for name in archive.namelist()}

    def test_a_zip_for_each_song(self):
        cli.make_wav(self.folder / "y.wav", seconds=0.2)
        out, _ = self.run_msaas("separate", "--zip", "x.wav", "y.wav")
        self.assertEqual(self.files(), ["tiny/x.zip", "tiny/y.zip"])
        self.assertEqual(self.folders(), ["tiny"])
        self.assertEqual(out.count("  separated/tiny/x.zip\n"), 1)
        self.assertEqual(self.members(self.folder / "separated/tiny/x.zip"),
                         {f"x/{stem}": self.plain(stem) for stem in STEMS})
        self.assertEqual(list(self.members(self.folder / "separated/tiny/y.zip")),
                         ["y/drums.wav", "y/bass.wav", "y/other.wav", "y/vocals.wav"])

    def test_on_standard_output(self):
        self.run_msaas("separate", "--zip", "x.wav")
        out, _ = self.to_output("--zip", "x.wav")
        self.assertEqual(out, (self.folder / "separated/tiny/x.zip").read_bytes())
        with open(self.folder / "x.wav", "rb") as song:
            out, err = self.to_output("--zip", "--two-stems=bass", "--flac", "-v", "-", stdin=song)
        self.assertIn("/dev/stdin:\n  -\n", err)
        (self.folder / "two.zip").write_bytes(out)
        self.assertEqual(list(self.members(self.folder / "two.zip")),
                         ["stdin/bass.flac", "stdin/no_bass.flac"])

    def test_names(self):
        self.run_msaas("separate", "--zip", "--filename", "a/{trackext}-{track}.{ext}", "x.wav")
        self.assertEqual(self.files(), ["tiny/a/wav-x.zip"])
        _, err = self.run_msaas("separate", "--zip", "--filename={stem}.{ext}", "x.wav", expect=2)
        self.assertIn("it has no {stem}", err)
        (self.folder / "other").mkdir()
        cli.make_wav(self.folder / "other/x.wav", seconds=0.1)
        _, err = self.run_msaas("separate", "--zip", "x.wav", "other/x.wav", expect=1)
        self.assertIn("other/x.wav: its stems would overwrite those of x.wav", err)

    def test_a_full_disk(self):
        """The stems fit, the zip does not."""
        _, err = self.run_msaas("separate", "--zip", "x.wav", expect=1,
                                preexec_fn=cli.limit_file_size(400000))
        self.assertIn("x.zip: cannot be written: File too large", err)
        self.assertEqual(self.files() + self.folders(), [])


class Demucs(Streams):
    def test_list_models(self):
        for json_option in ([], ["--json"]):
            listed, err = self.run_msaas("separate", "--list-models", *json_option)
            self.assertEqual((listed, err), self.run_msaas("model", "list", *json_option))
        self.assertIn('"name":"htdemucs_ft"', listed)

    def test_a_model_that_is_not_known(self):
        _, err = self.run_msaas("separate", "-n", "htdemucs_xl", "x.wav", expect=1)
        self.assertRegex(err, r"htdemucs_xl.*fetches .*htdemucs_ft.*; installed: tiny\n")

    def test_jobs(self):
        _, err = self.run_msaas("separate", "-v", "-j", 2, "x.wav")
        self.assertIn("2 lanes", err)

    def segments(self, *arguments):
        out, _ = self.run_msaas("separate", "--json", *arguments)
        return json.loads(out.splitlines()[-2])["segments_total"]

    def test_no_split(self):
        cli.make_wav(self.folder / "short.wav", seconds=0.5)  # as long as a segment of tiny
        self.assertEqual(self.segments("short.wav"), 2)
        self.assertEqual(self.segments("--no-split", "-o", "whole", "short.wav"), 1)
        self.assertEqual(self.files("whole/tiny/short"), STEMS)
        _, err = self.run_msaas("separate", "--no-split", "x.wav", expect=1)
        self.assertEqual(err, "msaas: x.wav: has 0.7 s; in one piece, model tiny takes at most "
                              "0.5 s: leave out --no-split\n")
        _, err = self.run_msaas("separate", "--no-split", "--shifts", 1, "short.wav", expect=1)
        self.assertIn("takes at most 0 s with --shifts", err)


if __name__ == "__main__":
    cli.main()
