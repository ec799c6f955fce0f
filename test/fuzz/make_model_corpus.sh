#!/bin/bash
# make_model_corpus.sh MAKE_MODEL TOOLS FOLDER: a very small network in each form that is read, as
# seeds for fuzzing: FOLDER/safetensors, FOLDER/onnx, FOLDER/pickle. Does nothing if they are there.
set -euo pipefail
make_model=$1 tools=$2 out=$3
[[ -e $out/pickle/small.pkl && -e $out/safetensors/published.safetensors ]] && exit 0
rm -rf "$out"
mkdir -p "$out/safetensors" "$out/onnx" "$out/pickle"
"$make_model" --tiny --name small --channels 2 --depth 2 --nfft 128 --dconv-comp 2 \
    --dconv-depth 1 --heads 8 --hidden-scale 1 "$out/safetensors"
/usr/bin/python3 "$tools/make_published.py" "$out/safetensors/small.json" \
    "$out/safetensors/published.safetensors"
/usr/bin/python3 "$tools/make_onnx.py" "$out/safetensors/small.json" "$out/onnx/small.onnx"
/usr/bin/python3 "$tools/make_th.py" "$out/safetensors/small.json" "$out/pickle/small.th"
/usr/bin/python3 -c '
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + ".th") as archive:
    name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
    open(sys.argv[1] + ".pkl", "wb").write(archive.read(name))
' "$out/pickle/small"
