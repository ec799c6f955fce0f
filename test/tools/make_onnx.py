#!/usr/bin/python3
"""make_onnx.py MODEL.json OUT.onnx: writes a model of ours as torch's ONNX exporter leaves it, for
tests of the importer.

Parameters that an operator takes as they are stay initializers of their own name. The others lose
their name: what a linear layer multiplies by is transposed, what a norm or a scale broadcasts has
dimensions of one, the frequency embedding is scaled and laid out for the sum, and a
cross-attention's projection falls into two parts. Only the node that uses such a value tells whose
it is. Nothing but names, inputs and initializers is written.
"""

import json
import re
import struct
import sys
from pathlib import Path

import numpy as np


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


class Graph:
    def __init__(self):
        self.nodes, self.initializers = b"", b""
        self.unnamed = 0

    def initializer(self, name, values):
        dims = b"".join(field(1, size) for size in values.shape)
        raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
        self.initializers += field(5, dims + field(2, 1) + field(8, name) + field(9, raw))

    def node(self, name, values):
        """A node of that name that takes the result of another and these values."""
        self.unnamed += 1
        self.initializer(f"onnx::{self.unnamed}", values)
        operator = re.sub(r"_\d+$", "", name.rsplit("/", 1)[1])
        body = field(1, name + "_input") + field(1, f"onnx::{self.unnamed}")
        body += field(2, name + "_output_0")
        self.nodes += field(1, body + field(3, name) + field(4, operator))


def module_path(module):
    """encoder.0.dconv.layers.0.1 -> /encoder.0/dconv/layers.0/layers.0.1: attributes are scopes,
    containers are not."""
    path = re.sub(r"(dconv)\.(layers\.\d+)\.(\d+)$", r"\1/\2/\2.\3", module)
    return "/" + re.sub(r"(?<=[a-z\d])\.(?=[a-z])(?!\d)", "/", path)


def add(graph, name, values, emb_scale):
    module, parameter = name.rsplit(".", 1)
    path = module_path(module)
    if name == "freq_emb.embedding.weight":
        graph.node("/Expand", (values * np.float32(emb_scale)).T[None, :, :, None])
    elif re.search(r"dconv\.layers\.\d+\.(1|4|6)$|norm_out$", module):
        graph.node(f"{path}/{'Add' if parameter == 'bias' else 'Mul'}", values[:, None])
    elif re.search(r"layers\.\d+\.cross_attn$", module) and parameter.startswith("in_proj"):
        third = len(values) // 3
        operator = "Add" if parameter.endswith("bias") else "MatMul"
        graph.node(f"{path}/{operator}", values[:third].T)
        graph.node(f"{path}/{operator}_1", values[third:].T)
    elif (parameter == "in_proj_weight" and "cross" not in module.rsplit(".", 1)[1]
          or re.search(r"linear\d$", module) and values.ndim == 2):
        graph.node(f"{path}/MatMul", values.T)
    else:
        graph.initializer(name, values)


def pack(json_path, out):
    model = json.loads(json_path.read_text())
    data = json_path.with_name(model["networks"][0]["file"]).read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    graph = Graph()
    for name, entry in json.loads(data[8 : 8 + size]).items():
        begin, end = entry["data_offsets"]
        dtype = {"F16": "<f2", "F32": "<f4"}[entry["dtype"]]
        values = np.frombuffer(data[8 + size + begin : 8 + size + end],
                               dtype).astype("<f4").reshape(entry["shape"])
        add(graph, name, values, model["hyperparameters"]["emb_scale"])

    def graph_input(name, shape):
        dims = b"".join(field(1, field(1, size)) for size in shape)
        return field(11, field(1, name) + field(2, field(1, field(1, 1) + field(2, dims))))

    frames, nfft = model["segment_frames"], model["hyperparameters"]["nfft"]
    inputs = graph_input("input", (1, 2, frames)) + graph_input("spectrum",
                                                                (1, 4, nfft // 2,
                                                                 -(-frames * 4 // nfft)))
    body = graph.nodes + field(2, "main_graph") + graph.initializers + inputs
    out.write_bytes(field(1, 8) + field(2, "pytorch") + field(7, body))


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
