#!/usr/bin/python3
"""test_real.py MSAAS MODELS: the imported htdemucs holds the published values, tensor by tensor.

`msaas model` is not asked: the file is read here, and each tensor's digest compared with the
manifest's. Packed again as Demucs 4.1 packs it, it is the file that Demucs publishes, and what is
pulled from that is the same model. Skipped (77) where the model is not there; scripts/fetch-model
brings it.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import make_published  # noqa: E402
import skip  # noqa: E402  (its folder was just added)

MSAAS, MANIFEST = sys.argv[1], pathlib.Path(sys.argv[2]) / "htdemucs.json"

rows = subprocess.run([MSAAS, "model", "list", "--json"], capture_output=True, text=True,
                      check=True).stdout
path = next(row["path"] for row in map(json.loads, rows.splitlines()) if row["name"] == "htdemucs")
if path is None:
    skip.whole("no htdemucs: scripts/fetch-model")
subprocess.run([MSAAS, "model", "verify", "htdemucs"], check=True)

model = json.loads(pathlib.Path(path).read_text())
data = (pathlib.Path(path).parent / model["networks"][0]["file"]).read_bytes()
network = json.loads(MANIFEST.read_text())["networks"][0]
assert hashlib.sha256(data).hexdigest() == model["networks"][0]["sha256"] == network["safetensors"]
size = int.from_bytes(data[:8], "little")
header = json.loads(data[8 : 8 + size])
assert header.keys() == network["tensors"].keys() and len(header) == 533
for name, entry in header.items():
    begin, end = entry["data_offsets"]
    assert entry["dtype"] == "F16", name
    values = data[8 + size + begin : 8 + size + end]
    assert hashlib.sha256(values).hexdigest() == network["tensors"][name], name
assert model["hyperparameters"]["t_heads"] == 8 and model["segment_frames"] == 343980
print(f"{len(header)} tensors, each as published")

with tempfile.TemporaryDirectory(prefix="msaas-test-") as folder:
    folder = pathlib.Path(folder)
    published = folder / "955717e8.safetensors"
    make_published.pack(pathlib.Path(path), published)
    source = next(source for source in network["sources"] if source["file"] == published.name)
    assert hashlib.sha256(published.read_bytes()).hexdigest() == source["sha256"]
    bag = folder / "htdemucs.yaml"
    bag.write_text("models: ['955717e8']\n")
    for arguments in (["pull", "htdemucs", published], ["pull", bag], ["import", published]):
        (folder / "models" / "htdemucs.json").unlink(missing_ok=True)
        subprocess.run([MSAAS, "model", *arguments], check=True,
                       env={**os.environ, "MSAAS_MODELS_DIR": str(folder / "models")})
        again = json.loads((folder / "models" / "htdemucs.json").read_text())
        assert again["networks"][0]["sha256"] == network["safetensors"]
        assert again["licence"] == json.loads(MANIFEST.read_text())["licence"]
print("so is what Demucs 4.1 publishes")
