#!/usr/bin/python3
"""Archives of the zip writer, as the programs see them that people have: Info-ZIP's unzip, Python's
zipfile and libarchive's bsdtar, which also reads them from a pipe, without the directory at the
end."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import skip  # noqa: E402  (its folder was just added)

TOOL = os.path.abspath(sys.argv[1])
BLOCK = bytes(n % 251 for n in range(251 * 4096))
LARGE = 4 * 2**30 + 12345
DEADLINE_S = 900


def content(size):
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


class Readers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="msaas-zip-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.archive = self.folder / "stems.zip"

    def make(self, *files):
        words = [str(word) for file in files for word in file]
        with self.archive.open("wb") as out:
            subprocess.run([TOOL, *words], stdout=out, check=True, timeout=DEADLINE_S)

    def run_in(self, *command, stdin=None):
        environment = os.environ | {"LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, stdin=stdin, cwd=self.folder, env=environment,
                              capture_output=True, timeout=DEADLINE_S, check=False)
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout} {done.stderr}")
        self.assertEqual(done.stderr, b"", command)
        return done.stdout

    def check(self, files):
        with zipfile.ZipFile(self.archive) as archive:
            self.assertEqual([(info.filename, info.file_size) for info in archive.infolist()],
                             [(name, size) for name, size, _ in files])
            self.assertIsNone(archive.testzip())
            self.assertEqual(archive.infolist()[0].date_time, (2023, 11, 14, 22, 13, 20))
        self.run_in("unzip", "-tqq", self.archive)
        self.run_in("bsdtar", "-tf", self.archive)
        self.run_in("unzip", "-qq", self.archive, "-d", "unzip")
        (self.folder / "bsdtar").mkdir()
        self.run_in("bsdtar", "-xf", self.archive, "-C", "bsdtar")
        (self.folder / "pipe").mkdir()
        with self.archive.open("rb") as pipe, \
                subprocess.Popen(["cat"], stdin=pipe, stdout=subprocess.PIPE) as cat:
            self.run_in("bsdtar", "-xf", "-", "-C", "pipe", stdin=cat.stdout)
        for reader in ("unzip", "bsdtar", "pipe"):
            for name, size, _ in files:
                got = (self.folder / reader / name).read_bytes()
                self.assertTrue(got == content(size), f"{reader}: {name}")

    def test_small(self):
        files = [("Söng あ/drums.flac", 1000000, 1000000), ("Söng あ/bass.flac", 0, 0),
                 ("Söng あ/vocals.mp3", 77777, -1), ("b%20'c", 1, 2**40)]
        self.make(*files)
        self.check(files)

    def test_empty(self):
        self.make()
        with zipfile.ZipFile(self.archive) as archive:
            self.assertEqual(archive.namelist(), [])

    def test_damage_is_seen(self):
        self.make(("a", 1000, 1000))
        damaged = bytearray(self.archive.read_bytes())
        damaged[500] ^= 1
        self.archive.write_bytes(damaged)
        with zipfile.ZipFile(self.archive) as archive:
            self.assertEqual(archive.testzip(), "a")

    def test_beyond_4_gib(self):
        if shutil.disk_usage(self.folder).free < 3 * LARGE:
            self.skipTest("a temporary folder with 13 GB of free space is needed")
        files = [("large.wav", LARGE, LARGE), ("behind.wav", 1000, 1000)]
        self.make(*files)
        with zipfile.ZipFile(self.archive) as archive:
            self.assertEqual([info.file_size for info in archive.infolist()], [LARGE, 1000])
            self.assertEqual(archive.read("behind.wav"), content(1000))
        self.run_in("unzip", "-tqq", self.archive)
        self.run_in("bsdtar", "-xf", self.archive, "behind.wav")
        self.assertEqual((self.folder / "behind.wav").read_bytes(), content(1000))
        with self.archive.open("rb") as pipe:
            tail = self.run_in("bsdtar", "-xOf", "-", "behind.wav", stdin=pipe)
        self.assertEqual(tail, content(1000))


if __name__ == "__main__":
    for program in ("unzip", "bsdtar"):
        if not shutil.which(program):
            skip.whole(f"no {program}: scripts/setup test")
    skip.main(sys.argv[:1])
