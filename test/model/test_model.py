#!/usr/bin/python3
"""test_model.py MSAAS MAKE_MODEL TOOLS: `msaas model` from outside, on tiny networks.

Weights are packed as torch and as its ONNX exporter pack them, imported, and must come out bit for
bit. Downloads come from a server on the loopback interface that breaks off.
"""

import hashlib
import http.server
import json
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile

MSAAS, MAKE_MODEL, TOOLS = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
sys.path.insert(0, str(TOOLS))

import make_onnx  # noqa: E402
import make_published  # noqa: E402
import make_th  # noqa: E402


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves server.files; a body ends after server.cut bytes. Notes the ranges that were asked
    for."""

    def do_GET(self):
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        first = 0
        if "Range" in self.headers:
            first = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.server.firsts.append(first)
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("ETag", '"' + sha256(data)[:8] + '"')
        self.end_headers()
        self.wfile.write(data[first : first + self.server.cut] if self.server.cut else data[first:])

    def log_message(self, *args):
        pass


class Endless(http.server.BaseHTTPRequestHandler):
    """Sends for ever, without saying how much, or after it has said server.length."""

    def do_GET(self):
        self.server.asked += 1
        self.send_response(200)
        if self.server.length:
            self.send_header("Content-Length", str(self.server.length))
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            pass  # the client has enough

    def log_message(self, *args):
        pass


class ModelTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="msaas-test-")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.models = self.folder / "models"

    def msaas(self, *args, code=0):
        run = subprocess.run(
            [MSAAS, "model", *map(str, args)],
            env={**os.environ, "MSAAS_MODELS_DIR": str(self.models)},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(run.returncode, code, run.stderr)
        return run.stdout if code == 0 else run.stderr

    def make_model(self, name="made", *options):
        subprocess.run([MAKE_MODEL, "--tiny", "--heads", "8", "--name", name, *options,
                        self.folder], check=True)
        return self.folder / f"{name}.json"

    def make_th(self, model, name, *changes, **options):
        make_th.pack(model, self.folder / name, changes=changes, **options)
        return self.folder / name

    def make_onnx(self, model, name):
        make_onnx.pack(model, self.folder / name)
        return self.folder / name

    def make_published(self, model, name, *changes, **options):
        make_published.pack(model, self.folder / name, changes, **options)
        return self.folder / name

    def make_bag(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def check_same(self, made, imported):
        """Weights bit for bit, and all that describes them."""
        a, b = (json.loads(path.read_text()) for path in (made, imported))
        for key in ("stems", "samplerate", "segment_frames", "hyperparameters"):
            self.assertEqual(a[key], b[key])
        for x, y in zip(a["networks"], b["networks"], strict=True):
            self.assertEqual(x["sha256"], y["sha256"])
            data = (imported.parent / y["file"]).read_bytes()
            self.assertEqual(data, (made.parent / x["file"]).read_bytes())
            self.assertEqual(sha256(data), y["sha256"])

    def serve(self, files, handler=Mirror):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.files, server.cut, server.firsts = files, 0, []
        server.asked = server.length = 0
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server, f"http://127.0.0.1:{server.server_port}/"

    def make_manifest(self, made, sources, digits=64):
        """As models/*.json, of networks whose weights are these files."""
        model = json.loads(made.read_text())
        networks = [
            {
                "weights": network["weights"],
                "sources": [{"file": source.name, "sha256": sha256(source.read_bytes())[:digits]}],
                "safetensors": network["sha256"],
            }
            for network, source in zip(model["networks"], sources, strict=True)
        ]
        manifest = {"name": model["name"], "licence": "a test's", "stems": model["stems"],
                    "networks": networks}
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(manifest))
        return path

    # ---- import

    def test_onnx_comes_out_bit_for_bit(self):
        made = self.make_model()
        onnx = self.make_onnx(made, "from_onnx.onnx")
        self.msaas("import", onnx)
        self.check_same(made, self.models / "from_onnx.json")
        self.assertIn("good", self.msaas("verify"))
        self.msaas("import", onnx, "-o", self.folder / "other", "--name", "own")
        self.check_same(made, self.folder / "other" / "own.json")

    def test_th_comes_out_bit_for_bit(self):
        forms = {
            "plain": [],
            "six": ["--stems", "drums,bass,other,vocals,guitar,piano"],
            "bare": ["--bottom", "0", "--dconv-mode", "1", "--layers", "3", "--context", "0",
                     "--depth", "2"],
            "wide": ["--float32"],
        }
        for name, options in forms.items():
            made = self.make_model(f"made_{name}", *options)
            for packing in ({"strided": True},
                            {"float32": True}) if name != "wide" else ({"float32": True},):
                self.msaas("import", self.make_th(made, f"{name}.th", **packing))
                self.check_same(made, self.models / f"{name}.json")

    def test_safetensors_of_demucs_come_out_bit_for_bit(self):
        forms = {
            "half": [],
            "six": ["--stems", "drums,bass,other,vocals,guitar,piano"],
            "bare": ["--bottom", "0", "--dconv-mode", "1", "--layers", "3", "--context", "0",
                     "--depth", "2"],
            "whole": ["--float32"],
        }
        for name, options in forms.items():
            made = self.make_model(f"made_{name}", *options)
            self.msaas("import", self.make_published(made, f"{name}.safetensors"))
            self.check_same(made, self.models / f"{name}.json")

    def test_safetensors_of_other_networks_are_refused_by_name(self):
        made = self.make_model()
        for klass in ("demucs.hdemucs.HDemucs", "demucs.demucs.Demucs", "os.system"):
            text = self.msaas("import", self.make_published(made, "a.safetensors", klass=klass),
                              code=1)
            self.assertIn(klass, text)
            self.assertIn("demucs.htdemucs.HTDemucs", text)
        for change in ("t_cross_first=true", "norm_starts=2", "multi_freqs=[0.5]",
                       't_emb="scaled"', "invented=1", "t_heads=3.5", 'segment={"_type": "sum"}',
                       'segment={"_type": "fraction", "numerator": 1, "denominator": 0}',
                       "metadata.kwargs=[1]", 'metadata.args="[8]"', 'metadata.kwargs="{"'):
            text = self.msaas("import", self.make_published(made, "a.safetensors", change), code=1)
            self.assertIn("a.safetensors", text)
            if change[0] not in "ms":
                self.assertIn(change.split("=")[0], text)
        packed = self.make_published(made, "q.safetensors", 'metadata.structure="{}"')
        self.assertIn("quantized", self.msaas("import", packed, code=1))
        # one of ours: it has no metadata
        self.assertIn("Demucs",
                      self.msaas("import", self.folder / "made.safetensors", code=1))
        self.assertEqual(list(self.models.glob("*")), [])

    def test_bags(self):
        made = self.make_model("bag", "--networks", "4")
        for i, name in enumerate(("f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d")):
            self.make_published(made, f"{name}.safetensors", network=i)
        flow = ("# fine-tuned\nmodels: ['f7e0c4bc', \"d12395a8\", '92cfc3b6', 04573f0d]\n"
                "weights: [\n  [1., 0., 0., 0.],\n  [0., 1., 0., 0.],\n  [0., 0., 1., 0.], # bass\n"
                "  [0., 0., 0., 1.],\n]\nsegment: 44")
        block = ("---\nmodels:\n- f7e0c4bc\n- d12395a8\n- 92cfc3b6\n- 04573f0d\nweights:\n" +
                 "".join("- - {:.1f}\n  - {:.1f}\n  - {:.1f}\n  - {:.1f}\n".format(
                     *(float(i == j) for j in range(4))) for i in range(4)))
        for name, text in (("flow", flow), ("block", block)):
            self.msaas("import", self.make_bag(f"{name}.yaml", text))
            self.check_same(made, self.models / f"{name}.json")
            bag = json.loads((self.models / f"{name}.json").read_text())
            self.assertEqual([network["weights"] for network in bag["networks"]],
                             [[float(i == j) for j in range(4)] for i in range(4)])
        # without weights they count alike; pull takes it too; as a folder on the web as well
        plain = self.make_bag("plain.yaml", "models: ['92cfc3b6', 'd12395a8']\n")
        self.msaas("pull", plain)
        bag = json.loads((self.models / "plain.json").read_text())
        self.assertEqual([network["weights"] for network in bag["networks"]], [[1, 1, 1, 1]] * 2)
        (self.models / "plain.json").unlink()
        server, url = self.serve({f"/w/{name}.safetensors":
                                  (self.folder / f"{name}.safetensors").read_bytes()
                                  for name in ("92cfc3b6", "d12395a8")})
        self.msaas("pull", plain, "--url", url + "w/")
        pulled = json.loads((self.models / "plain.json").read_text())
        self.assertEqual(pulled["networks"], bag["networks"])
        # a published bag is still checked by its digests
        text = self.msaas("pull", "htdemucs_ft", self.folder / "flow.yaml", code=1)
        self.assertIn("2c85ab3c62dd", text)

    def test_bags_of_th_files(self):
        made = self.make_model()
        th = self.make_th(made, "a.th")
        good = sha256(th.read_bytes())[:8]
        th.rename(self.folder / f"0badcafe-{good}.th")
        bag = self.make_bag("old.yaml", "models: [0badcafe]\n")
        self.msaas("import", bag)
        self.check_same(made, self.models / "old.json")
        (self.folder / f"0badcafe-{good}.th").rename(self.folder / "0badcafe-00000000.th")
        self.assertIn("00000000", self.msaas("import", bag, code=1))
        (self.folder / "0badcafe-00000000.th").rename(self.folder / "0badcafe.th")
        self.msaas("import", bag)

    def test_bags_that_are_refused(self):
        made = self.make_model()
        self.make_published(made, "a.safetensors")
        for text, part in (
            ("models: [b]", "b.safetensors"),
            ("models: [../a]", "characters"),
            ("models: [a]\nweights: [[1, 1]]", "weights for 2"),
            ("models: [a]\nweights: [[1, 1, 1, 1], [1, 1, 1, 1]]", "networks"),
            ("models: [a]\nsegment: 0.01", "segments of 0.01 s"),
            ("models: [a]\nshifts: 2", "line 2: the key shifts"),
            ("models: [a", "this is not YAML"),
            ("", "keys with their values"),
        ):
            self.assertIn(part, self.msaas("import", self.make_bag("x.yaml", text), code=1))
        self.make_published(made, "b.safetensors", klass="demucs.hdemucs.HDemucs")
        self.assertIn("demucs.hdemucs.HDemucs", self.msaas(
            "import", self.make_bag("x.yaml", "models: [b]\nsegment: 44\n"), code=1))
        self.assertEqual(list(self.models.glob("*")), [])

    def test_all_tensors_of_the_published_form(self):
        made = self.make_model("full", "--channels", "8", "--depth", "4", "--layers", "5", "--nfft",
                               "2048")
        manifest = json.loads((TOOLS / "../../models/htdemucs.json").read_text())
        names = manifest["networks"][0]["tensors"]
        data = (self.folder / "full.safetensors").read_bytes()
        self.assertEqual(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).keys(),
                         names.keys())
        self.msaas("import", self.make_th(made, "th.th"), self.make_onnx(made, "x.onnx"), "--name",
                   "bag")
        bag = json.loads((self.models / "bag.json").read_text())
        self.assertEqual([network["sha256"] for network in bag["networks"]], [sha256(data)] * 2)

    def test_th_of_other_networks_is_refused_by_name(self):
        made = self.make_model()
        for change in (
            "t_cross_first=True",
            "norm_starts=2",
            "cac=False",
            "multi_freqs=[0.5]",
            "t_emb='scaled'",
            "invented=1",
            "segment=-1",
            "t_heads=3.5",
        ):
            text = self.msaas("import", self.make_th(made, "odd.th", change), code=1)
            self.assertIn("odd.th", text)
            self.assertIn(change.split("=")[0], text)
        stems = "sources=['a/b', 'bass', 'other', 'vocals']"
        self.assertIn("stem", self.msaas("import", self.make_th(made, "stems.th", stems), code=1))
        self.assertIn(
            "quantized",
            self.msaas("import", self.make_th(made, "q.th", "state.__quantized=True"), code=1)
        )
        self.assertIn("hold",
                      self.msaas("import", self.make_th(made, "h.th", "channels=512"), code=1))
        self.assertEqual(list(self.models.glob("*")), [])

    def test_a_pickle_is_never_executed(self):
        marker = self.folder / "executed"

        class Evil:
            def __reduce__(self):
                return (os.system, (f"touch {marker}",))

        path = self.folder / "evil.th"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("evil/data.pkl", pickle.dumps({"klass": Evil()}, protocol=2))
        self.assertIn("system", self.msaas("import", path, code=1))
        self.assertFalse(marker.exists())

    def test_damaged_sources(self):
        made = self.make_model()
        for path in (self.make_th(made, "cut.th"), self.make_onnx(made, "cut.onnx"),
                     self.make_published(made, "cut.safetensors")):
            data = path.read_bytes()
            for size in (0, 10, len(data) // 2, len(data) - 1):
                path.write_bytes(data[:size])
                self.assertIn(str(path), self.msaas("import", path, code=1))
        self.assertIn("No such file", self.msaas("import", self.folder / "none.th", code=1))
        self.msaas("import", self.folder, code=1)
        self.assertEqual(list(self.models.glob("*")), [])

    # ---- pull

    def test_pull_in_spite_of_breaks(self):
        made = self.make_model()
        source = self.make_th(made, "0badcafe.th")
        manifest = self.make_manifest(made, [source], digits=8)
        server, url = self.serve({"/0badcafe.th": source.read_bytes()})
        server.cut = 40000
        self.assertIn("a test's", self.msaas("pull", manifest, "--url", url))
        self.assertGreater(len(server.firsts), 2)
        self.assertEqual(server.firsts, [i * 40000 for i in range(len(server.firsts))])
        self.check_same(made, self.models / "made.json")
        self.assertEqual({path.name for path in self.models.iterdir()},
                         {"made.json", "made.safetensors"})
        self.assertEqual(json.loads((self.models / "made.json").read_text())["source"],
                         f"0badcafe.th, SHA-256 {sha256(source.read_bytes())[:16]}")
        asked = len(server.firsts)
        self.msaas("pull", manifest, "--url", url)  # it is there already
        self.assertEqual(len(server.firsts), asked)

    def test_pull_goes_on_with_an_earlier_run(self):
        made = self.make_model()
        source = self.make_onnx(made, "made.onnx")
        manifest = self.make_manifest(made, [source])
        data = source.read_bytes()
        server, url = self.serve({"/elsewhere": data})
        self.models.mkdir()
        part = self.models / ".download-made.onnx.part"
        part.write_bytes(data[:50000])
        self.msaas("pull", manifest, "--url", url + "elsewhere")
        self.assertEqual(server.firsts, [50000])
        self.assertFalse(part.exists())
        # What an earlier run left is of another version: begun anew.
        (self.models / "made.json").unlink()
        part.write_bytes(bytes(50000))
        self.msaas("pull", manifest, "--url", url + "elsewhere")
        self.assertEqual(server.firsts, [50000, 50000, 0])

    def test_pull_takes_nothing_else(self):
        made = self.make_model()
        source = self.make_onnx(made, "made.onnx")
        manifest = self.make_manifest(made, [source])
        server, url = self.serve({"/made.onnx": source.read_bytes()[:-1] + b"x"})
        text = self.msaas("pull", manifest, "--url", url, code=1)
        self.assertIn("SHA-256", text)
        self.assertIn("404", self.msaas("pull", manifest, "--url", url + "no/", code=1))
        self.assertIn("file",
                      self.msaas("pull", manifest, "--url", self.folder.as_uri() + "/", code=2))
        self.assertIn("htdemucs_ft", self.msaas("pull", "no_such_model", code=1))
        self.assertIn("da9e5101", self.msaas("pull", "htdemucs", source, code=1))
        self.assertEqual(list(self.models.iterdir()), [])

    def test_pull_from_a_server_that_never_ends(self):
        source = self.make_onnx(self.make_model(), "made.onnx")
        path = self.make_manifest(self.folder / "made.json", [source])
        server, url = self.serve({}, Endless)
        # without a size in the manifest: what the server says is too much, and nothing is taken
        server.length = 300 << 20
        self.assertIn("314572800 bytes; at most 268435456",
                      self.msaas("pull", path, "--url", url, code=1))
        # with one: not a byte more, and nothing of it stays
        server.length = 0
        manifest = json.loads(path.read_text())
        manifest["networks"][0]["sources"][0]["bytes"] = len(source.read_bytes())
        path.write_text(json.dumps(manifest))
        self.assertIn(f"over {len(source.read_bytes())} bytes",
                      self.msaas("pull", path, "--url", url, code=1))
        self.assertEqual(list(self.models.iterdir()), [])
        # nor of an earlier run: begun anew, once
        part = self.models / ".download-made.onnx.part"
        part.write_bytes(bytes(1000))
        server.asked = 0
        self.msaas("pull", path, "--url", url, code=1)
        self.assertEqual((server.asked, list(self.models.iterdir())), (1, []))

    def test_pull_checks_every_tensor(self):
        made = self.make_model()
        source = self.make_onnx(made, "made.onnx")
        path = self.make_manifest(made, [source])
        data = (self.folder / "made.safetensors").read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        manifest = json.loads(path.read_text())
        tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            tensors[name] = sha256(data[8 + size + begin : 8 + size + end])
        manifest["networks"][0]["tensors"] = tensors
        path.write_text(json.dumps(manifest))
        self.msaas("pull", path, source)
        tensors["encoder.1.conv.bias"] = sha256(b"")
        path.write_text(json.dumps(manifest))
        (self.models / "made.json").unlink()
        self.assertIn("encoder.1.conv.bias", self.msaas("pull", path, source, code=1))
        self.assertFalse((self.models / "made.json").exists())

    def test_pull_a_bag(self):
        made = self.make_model("bag", "--networks", "4")
        sources = []
        for i in range(4):
            single = self.make_model("single", "--seed", str(i))
            model, bag = json.loads(single.read_text()), json.loads(made.read_text())
            model["networks"][0].update(file=bag["networks"][i]["file"],
                                        sha256=bag["networks"][i]["sha256"])
            single.write_text(json.dumps(model))
            sources.append(self.make_th(single, f"{i}.th"))
        manifest = self.make_manifest(made, sources)
        server, url = self.serve({f"/weights/{source.name}": source.read_bytes()
                                  for source in sources})
        self.assertIn("several", self.msaas("pull", manifest, "--url", url + "weights", code=2))
        self.msaas("pull", manifest, "--url", url + "weights/")
        self.check_same(made, self.models / "bag.json")
        bag = json.loads((self.models / "bag.json").read_text())
        self.assertEqual([network["weights"].index(1) for network in bag["networks"]], [0, 1, 2, 3])

    # ---- list and verify

    def test_list(self):
        self.assertIn("msaas model pull htdemucs_6s", self.msaas("list"))
        self.msaas("import", self.make_onnx(self.make_model(), "mine.onnx"))
        rows = {row["name"]: row
                for row in map(json.loads, self.msaas("list", "--json").splitlines())}
        self.assertEqual(set(rows), {"mine", "htdemucs", "htdemucs_ft", "htdemucs_6s"})
        self.assertTrue(rows["mine"]["installed"])
        self.assertEqual(rows["htdemucs_6s"]["stems"][4:], ["guitar", "piano"])
        self.assertFalse(rows["htdemucs"]["installed"])
        self.assertEqual(rows["htdemucs_ft"]["networks"], 4)

    def test_verify(self):
        self.make_model("mine")
        self.models = self.folder
        self.msaas("verify", "mine")
        self.assertIn("mine: good", self.msaas("verify"))
        weights = self.folder / "mine.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 4
        weights.write_bytes(data)
        text = self.msaas("verify", "mine", code=1)
        self.assertIn("mine.safetensors", text)
        self.assertIn(sha256(data)[:12], text)
        # Other weights under a known name are not the published ones, however sound they are.
        self.make_model("htdemucs")
        self.assertIn("published", self.msaas("verify", "htdemucs", code=1))

    def test_usage(self):
        for args in ([], ["frobnicate"], ["pull"], ["import"], ["list", "x"],
                     ["pull", "htdemucs", "--name", "x"]):
            self.assertIn("--help", self.msaas(*args, code=2))
        self.assertIn("pull NAME", self.msaas("--help"))


unittest.main(argv=sys.argv[:1], verbosity=1)
