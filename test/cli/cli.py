"""What the tests of the command line share: the program, a model of random weights, small songs, a
folder for each test."""

import array
import ctypes
import math
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import unittest
import wave

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import skip  # noqa: E402  (its folder was just added)

MSAAS, MAKE_MODEL = map(os.path.abspath, sys.argv[1:3])
DEADLINE_S = 300  # of every wait: far beyond what a loaded machine takes
RATE_HZ = 44100
STEMS = ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
PR_CAPBSET_DROP = 24  # of linux/prctl.h
LIBC = ctypes.CDLL(None, use_errno=True)


def make_wav(path, seconds=0.7, rate_hz=RATE_HZ, channels=2):
    """16 bit PCM: a sine per channel. Returns the number of frames."""
    frames = int(seconds * rate_hz)
    samples = array.array(
        "h",
        (int(9000 * math.sin(0.05 * (c + 1) * n)) for n in range(frames) for c in range(channels)),
    )
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate_hz, frames, "NONE", ""))
        file.writeframes(samples.tobytes())
    return frames


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True,
                   timeout=DEADLINE_S)


class Case(unittest.TestCase):
    """Each test runs in an empty folder of its own; `tiny` is an installed model."""

    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.TemporaryDirectory(prefix="msaas-cli-")
        cls.addClassCleanup(cls.shared.cleanup)
        cls.models = pathlib.Path(cls.shared.name, "models")
        cls.models.mkdir()
        subprocess.run([MAKE_MODEL, "--tiny", "--name", "tiny", cls.models], check=True,
                       timeout=DEADLINE_S)

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="msaas-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def command(self, *arguments):
        return [MSAAS, *map(str, arguments)]

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MSAAS_")}
        return {**kept, "MSAAS_MODEL": "tiny", "MSAAS_MODELS_DIR": str(self.models), "LC_ALL": "C"}

    def popen(self, *arguments, **options):
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            **{"env": self.environment(), "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
               "stderr": subprocess.PIPE, "text": True, "errors": "replace", **options},
        )

    def run_msaas(self, *arguments, expect=0, **options):
        process = self.popen(*arguments, **options)
        with process:
            try:
                out, err = process.communicate(timeout=DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        self.assertEqual(process.returncode, expect, f"{arguments}\n{out}\n{err}")
        return out or "", err or ""

    def files(self, below="separated"):
        """Every file below a folder, hidden ones included, as sorted relative names."""
        root = self.folder / below
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir())

    def folders(self, below="separated"):
        root = self.folder / below
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_dir())


class ServiceCase(Case):
    """`variables` go into the environment, beside what every test has; nothing else of a service is
    in it."""

    variables = {}

    def environment(self):
        ours = ("REDIS_", "MINIO_", "AWS_", "XDG_")
        kept = {name: value for name, value in super().environment().items()
                if not name.startswith(ours)}
        return {**kept, "no_proxy": "*", **self.variables}

    def message(self, *arguments, expect=2, **variables):
        """What it says in its one line on standard error."""
        self.variables = variables
        out, err = self.run_msaas(*arguments, expect=expect)
        self.assertEqual(out, "")
        self.assertRegex(err, r"\Amsaas: [^\n]+\n\Z")
        return err


def limit_file_size(size):
    """For preexec_fn: writing past `size` bytes fails, as on a full disk."""

    def apply():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return apply


def heed_permissions():
    """For preexec_fn: not even root reads or writes what the permissions deny."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "cannot give up a capability")


def main():
    skip.main(sys.argv[:1] + sys.argv[3:])
