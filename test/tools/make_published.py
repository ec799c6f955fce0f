#!/usr/bin/python3
"""make_published.py MODEL.json OUT.safetensors [--set NAME=JSON ...] [--class NAME]

Packs a model of ours as Demucs publishes its own since version 4.1: tensors by name, and class and
parameters in the metadata. Out of the published htdemucs it makes the published file, byte for
byte. --set puts a parameter of the constructor there, or, with "metadata.", a member of the
metadata.
"""

import argparse
import fractions
import json
import pathlib
import struct

CLASS = "demucs.htdemucs.HTDemucs"

# What the published networks were made with, in their order.
PARAMETERS = {
    "sources": None, "audio_channels": 2, "samplerate": 44100, "segment": None, "channels": 48,
    "channels_time": None, "growth": 2, "nfft": 4096, "wiener_iters": 0, "end_iters": 0,
    "wiener_residual": False, "cac": True, "depth": 4, "rewrite": True, "multi_freqs": [],
    "multi_freqs_depth": 3, "freq_emb": 0.2, "emb_scale": 10, "emb_smooth": True, "kernel_size": 8,
    "stride": 4, "time_stride": 2, "context": 1, "context_enc": 0, "norm_starts": 4,
    "norm_groups": 4, "dconv_mode": 3, "dconv_depth": 2, "dconv_comp": 8, "dconv_init": 0.001,
    "bottom_channels": 512, "t_layers": 5, "t_hidden_scale": 4.0, "t_heads": 8, "t_dropout": 0.02,
    "t_layer_scale": True, "t_gelu": True, "t_emb": "sin", "t_max_positions": 10000,
    "t_max_period": 10000.0, "t_weight_pos_embed": 1.0, "t_cape_mean_normalize": True,
    "t_cape_augment": True, "t_cape_glob_loc_scale": [5000.0, 1.0, 1.4], "t_sin_random_shift": 0,
    "t_norm_in": True, "t_norm_in_group": False, "t_group_norm": False, "t_norm_first": True,
    "t_norm_out": True, "t_weight_decay": 0.0, "t_lr": None, "t_sparse_self_attn": False,
    "t_sparse_cross_attn": False, "t_mask_type": "diag", "t_mask_random_seed": 42,
    "t_sparse_attn_window": 400, "t_global_window": 100, "t_sparsity": 0.95,
    "t_auto_sparsity": False, "t_cross_first": False, "rescale": 0.1,
}


def parameters(model):
    hyper = model["hyperparameters"]
    segment = fractions.Fraction(model["segment_frames"], model["samplerate"])
    own = {
        **{name: type(PARAMETERS[name])(value) for name, value in hyper.items()
           if name in PARAMETERS},
        "sources": model["stems"],
        "samplerate": model["samplerate"],
        "segment": {"_type": "fraction", "numerator": segment.numerator,
                    "denominator": segment.denominator},
        "dconv_mode": hyper["dconv_encoder"] + 2 * hyper["dconv_decoder"],
    }
    return {**PARAMETERS, **own}


def pack(model_path, out, changes=(), klass=CLASS, network=0):
    model = json.loads(model_path.read_text())
    data = model_path.with_name(model["networks"][network]["file"]).read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    tensors = json.loads(data[8 : 8 + size])
    kwargs, more = parameters(model), {}
    for pair in changes:
        name, value = pair.split("=", 1)
        target = more if name.startswith("metadata.") else kwargs
        target[name.removeprefix("metadata.")] = json.loads(value)
    header = {"__metadata__": {"klass": klass, "args": "[]", "kwargs": json.dumps(kwargs), **more}}
    values, offset = [], 0
    for name in sorted(tensors):
        begin, end = tensors[name]["data_offsets"]
        values.append(data[8 + size + begin : 8 + size + end])
        header[name] = {"dtype": tensors[name]["dtype"], "shape": tensors[name]["shape"],
                        "data_offsets": [offset, offset + end - begin]}
        offset += end - begin
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(out).write_bytes(b"".join([struct.pack("<Q", len(text)), text, *values]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--class", dest="klass", default=CLASS)
    args = parser.parse_args()
    pack(args.model, args.out, args.set, args.klass)


if __name__ == "__main__":
    main()
