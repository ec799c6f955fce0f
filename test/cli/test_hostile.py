#!/usr/bin/python3
"""Bad input: a message that names file and cause, exit code 1, nothing half-written, the other
files still done."""

import os
import shutil
import struct
import subprocess
import unittest

import cli
from cli import STEMS


def wav(kind, channels, rate_hz, bits, data, claimed=None):
    """A WAV file by hand, with whatever its header is to claim. kind: 1 integers, 3 floats."""
    size = len(data) if claimed is None else claimed
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", kind, channels, rate_hz, rate_hz * block % 2**32, block, bits)
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(36 + size, 2**32 - 1)) + b"WAVE" + chunks


class BadSongs(cli.Case):
    def make(self):
        """Name -> a part of its message (after the name)."""
        put = lambda name, content: (self.folder / name).write_bytes(content)
        cli.make_wav(self.folder / "good.wav")
        put("empty.wav", b"")
        put("text.mp3", b"This is no music at all.\n" * 100)
        put("zero.wav", wav(1, 2, 44100, 16, b""))
        put("nan.wav", wav(3, 1, 44100, 32, struct.pack("<f", float("nan")) * 9000))
        put("infinity.wav", wav(3, 1, 44100, 32, struct.pack("<f", float("-inf")) * 9000))
        put("1hz.wav", wav(1, 1, 1, 16, bytes(9000)))
        put("10mhz.wav", wav(1, 1, 10_000_000, 16, bytes(9000)))
        put("64channels.wav", wav(1, 64, 44100, 16, bytes(12800)))
        put("list.m3u8", b"#EXTM3U\n#EXTINF:1,\ngood.wav\n#EXT-X-ENDLIST\n")
        put("list.mp3", (self.folder / "list.m3u8").read_bytes())
        put("concat.wav", b"ffconcat version 1.0\nfile good.wav\n")
        put("url.mp3", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
        os.mkfifo(self.folder / "pipe.wav")
        (self.folder / "folder.mp3").mkdir()
        (self.folder / "dangling.mp3").symlink_to("nowhere")
        cli.ffmpeg("-f", "lavfi", "-i", "color=s=32x32:d=1", "-an", self.folder / "silent.mkv")
        named = {name: "" for name in os.listdir(self.folder) if name != "good.wav"}
        named |= {"missing.mp3": "No such file", "dangling.mp3": "No such file",
                  "folder.mp3": "is a folder"}
        put("secret.wav", (self.folder / "good.wav").read_bytes())
        (self.folder / "secret.wav").chmod(0)
        named["secret.wav"] = "Permission denied"
        return named

    def test_all_at_once(self):
        bad = self.make()
        _, err = self.run_msaas(
            "separate", *bad, "good.wav", expect=1, preexec_fn=cli.heed_permissions
        )
        for name, cause in bad.items():
            with self.subTest(name=name):
                self.assertRegex(err, rf"(?m)^msaas: {name}: .*{cause}")
        self.assertEqual(len(err.splitlines()), len(bad), err)
        self.assertEqual(self.folders(), ["tiny", "tiny/good"])
        self.assertEqual(self.files(), [f"tiny/good/{stem}" for stem in STEMS])

    def test_what_breaks_off_gives_what_there_is_and_says_so(self):
        frames = cli.make_wav(self.folder / "whole.wav", seconds=3)
        cli.ffmpeg("-i", self.folder / "whole.wav", self.folder / "whole.mp3")
        for name, content in [
            ("cut.mp3", (self.folder / "whole.mp3").read_bytes()[:15000]),
            ("hours.wav", wav(1, 2, 44100, 16, bytes(4 * frames), claimed=2**31)),
        ]:
            with self.subTest(name=name):
                (self.folder / name).write_bytes(content)
                _, err = self.run_msaas("separate", name, expect=1)
                self.assertRegex(err, rf"^msaas: {name}: ")
                self.assertIn(self.files(f"separated/tiny/{name[:-4]}"), ([], STEMS))


class BadSurroundings(cli.Case):
    def setUp(self):
        super().setUp()
        cli.make_wav(self.folder / "x.wav", seconds=2)

    def test_output_folder_that_cannot_be(self):
        for out, cause in [("x.wav", "is a file"), ("x.wav/deeper", "is a file"),
                           ("/proc/msaas", "cannot make")]:
            with self.subTest(out=out):
                _, err = self.run_msaas("separate", "-o", out, "x.wav", expect=1)
                self.assertRegex(err, rf"^msaas: x\.wav: .*{cause}")

    def test_output_folder_not_writable(self):
        (self.folder / "closed").mkdir(mode=0o555)
        _, err = self.run_msaas(
            "separate", "-o", "closed", "x.wav", expect=1, preexec_fn=cli.heed_permissions
        )
        self.assertRegex(err, r"^msaas: x\.wav: .*closed.*Permission denied")

    def test_disk_full(self):
        """Where a file must not grow further, while stems are spooled and while they are
        encoded."""
        for mode in ("rescale", "clamp"):
            for size in (100_000, 300_000):
                with self.subTest(mode=mode, size=size):
                    _, err = self.run_msaas(
                        "separate", "--clip-mode", mode, "x.wav", expect=1,
                        preexec_fn=cli.limit_file_size(size)
                    )
                    self.assertRegex(err, r"^msaas: x\.wav: .*File too large")
                    self.assertEqual(self.files() + self.folders(), [])

    @unittest.skipUnless(
        shutil.which("unshare")
        and subprocess.run(["unshare", "-m", "true"], capture_output=True,
                           check=False).returncode == 0,
        "needs the right to mount a file system",
    )
    def test_disk_really_full(self):
        (self.folder / "small").mkdir()
        script = """mount -t tmpfs -o size=600k none small && "$@"
                    code=$?; find small -mindepth 1 >left; exit $code"""
        for mode in ("rescale", "clamp"):
            with self.subTest(mode=mode):
                command = self.command("separate", "--clip-mode", mode, "-o", "small", "x.wav")
                run = subprocess.run(
                    ["unshare", "-m", "sh", "-c", script, "sh", *command],
                    cwd=self.folder,
                    env=self.environment(),
                    capture_output=True,
                    text=True,
                    timeout=cli.DEADLINE_S,
                    check=False,
                )
                self.assertEqual(run.returncode, 1, run.stderr)
                self.assertRegex(run.stderr, r"^msaas: x\.wav: .*No space left")
                self.assertEqual((self.folder / "left").read_text(encoding="utf-8"), "")

    def test_models(self):
        _, err = self.run_msaas("separate", "-n", "unknown", "x.wav", expect=1)
        self.assertIn("htdemucs, htdemucs_6s, htdemucs_ft", err)
        self.assertNotIn("pull unknown", err)
        self.assertIn("installed: tiny\n", err)
        _, err = self.run_msaas("separate", "-n", "../x", "x.wav", expect=1)
        self.assertIn("../x", err)
        damaged = self.folder / "damaged"
        shutil.copytree(self.models, damaged)
        with open(damaged / "tiny.safetensors", "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 1]))
        _, err = self.run_msaas("separate", "-n", damaged, "x.wav", expect=1)
        self.assertIn("tiny.safetensors", err)
        self.assertFalse((self.folder / "separated").exists())


if __name__ == "__main__":
    cli.main()
