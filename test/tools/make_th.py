#!/usr/bin/python3
"""make_th.py MODEL.json OUT.th [--float32] [--strided] [--set NAME=PYTHON ...]

Packs a model of ours as upstream packs its own (demucs/states.py, serialize_model): a class that
pickles as demucs.htdemucs.HTDemucs, the constructor's parameters, and the weights as torch tensors.
For tests of the importer. --strided stores every matrix transposed, so that its strides are not
those of C order. --set puts a parameter of the constructor there, or, with "state.", a thing into
the state.
"""

import argparse
import collections
import fractions
import json
import pathlib
import struct
import sys
import types

import numpy as np
import torch

HIDDEN = ("dconv_encoder", "dconv_decoder")


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    state = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        begin, end = entry["data_offsets"]
        dtype = {"F16": "<f2", "F32": "<f4"}[entry["dtype"]]
        values = np.frombuffer(data[8 + size + begin : 8 + size + end],
                               dtype).reshape(entry["shape"])
        state[name] = torch.from_numpy(values.copy())
    return state


def htdemucs_class():
    package, module = types.ModuleType("demucs"), types.ModuleType("demucs.htdemucs")
    klass = type("HTDemucs", (), {"__module__": "demucs.htdemucs"})
    module.HTDemucs, package.htdemucs = klass, module
    sys.modules.update({"demucs": package, "demucs.htdemucs": module})
    return klass


def pack(model_path, out, float32=False, strided=False, changes=()):
    model = json.loads(model_path.read_text())
    hyper = model["hyperparameters"]
    kwargs = {name: value for name, value in hyper.items() if name not in HIDDEN}
    kwargs.update(
        sources=model["stems"],
        samplerate=model["samplerate"],
        segment=fractions.Fraction(model["segment_frames"], model["samplerate"]),
        dconv_mode=hyper["dconv_encoder"] + 2 * hyper["dconv_decoder"],
        t_dropout=0.02,
        t_emb="sin",
        t_norm_first=True,
        multi_freqs=[],
        t_lr=None,
    )
    weights = model_path.with_name(model["networks"][0]["file"])
    state = collections.OrderedDict(read_safetensors(weights))
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    for name, tensor in state.items():
        tensor = tensor.float() if float32 else tensor.half()
        if strided and tensor.dim() > 1:
            tensor = tensor.transpose(0, 1).contiguous().transpose(0, 1)
        state[name] = tensor
    for pair in changes:
        name, value = pair.split("=", 1)
        target = state if name.startswith("state.") else kwargs
        target[name.removeprefix("state.")] = eval(value)  # the caller's own words
    torch.save(
        {
            "klass": htdemucs_class(),
            "args": (),
            "kwargs": kwargs,
            "state": state,
            "training_args": {"seed": 42, "lr": 3e-4,
                              "dset": {"sources": model["stems"], "big": 1 << 40}},
        },
        out,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--strided", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    pack(args.model, args.out, args.float32, args.strided, args.set)


if __name__ == "__main__":
    main()
