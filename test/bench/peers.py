"""peers.py: htdemucs on the CPU in the systems that a user could pick instead of msaas.

bench.py starts it, with the Python of the folder that holds the peers, and in that folder:

    peers.py version PEER              prints its version; fails where it cannot be used
    peers.py weights MODEL.json        from a model of msaas, writes repo/: the same weights for
                                       PyTorch and for `demucs`
    peers.py run PEER PRECISION CPUS SEGMENTS
        says "ready" when warm, waits for a line, and prints as JSON the seconds of each segment and
        its peak memory. CPUS, as in 0,1: the processors to work on, one thread each.

openvino and onnxruntime compute the network alone: their graph has no Fourier transforms. torch
computes all of it.
"""

import contextlib
import json
import os
import pathlib
import sys
import time

ONNX = "package/htdemucs.onnx"
FRAMES = 343980  # of a segment, at 44.1 kHz
SPECTRUM = (1, 4, 2048, 336)  # real and imaginary parts of both channels; bins; frames
WARM_UP = 2


def version(peer):
    import importlib.metadata

    importlib.import_module("demucs.api" if peer == "demucs" else peer)
    if peer == "torch":
        importlib.import_module("demucs.htdemucs")  # the network is written there
    return importlib.metadata.version(peer)


def weights(model_json):
    import torch
    from demucs.htdemucs import HTDemucs

    path = pathlib.Path(model_json)
    model = json.loads(path.read_text())
    data = (path.parent / model["networks"][0]["file"]).read_bytes()  # safetensors
    size = int.from_bytes(data[:8], "little")
    state = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        assert entry["dtype"] == "F16", name
        begin, end = entry["data_offsets"]
        values = bytearray(data[8 + size + begin : 8 + size + end])
        state[name] = torch.frombuffer(values, dtype=torch.float16).reshape(entry["shape"])
    hyper = model["hyperparameters"]
    arguments = {name: hyper[name] for name in ("bottom_channels", "t_layers")}
    arguments |= {"sources": model["stems"], "segment": 7.8, "dconv_mode": 3}
    HTDemucs(**arguments).load_state_dict(state)  # complains of every tensor too many or too few
    repo = pathlib.Path("repo")
    repo.mkdir(exist_ok=True)
    package = {"klass": HTDemucs, "args": (), "kwargs": arguments, "state": state}
    torch.save(package, repo / "00000000.th")
    (repo / "htdemucs.yaml").write_text("models: ['00000000']\n")


def noise(*shape):
    import numpy as np

    return np.random.default_rng(0).standard_normal(shape).astype("f4") * 0.1


def torch_forward(precision, threads):
    import torch
    from demucs.pretrained import get_model

    torch.set_num_threads(threads)
    network = get_model("htdemucs", pathlib.Path("repo")).models[0].eval().float()
    mix = torch.from_numpy(noise(1, 2, FRAMES))

    def forward():
        half = (
            torch.autocast("cpu", torch.bfloat16)
            if precision == "bf16"
            else contextlib.nullcontext()
        )
        with torch.inference_mode(), half:
            network(mix)

    return forward


def openvino_forward(precision, threads):
    import openvino

    core = openvino.Core()
    options = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(core.read_model(ONNX), "CPU", options).create_infer_request()
    inputs = [noise(1, 2, FRAMES), noise(*SPECTRUM)]
    return lambda: request.infer(inputs)


def onnxruntime_forward(_, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(ONNX, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    feeds = dict(zip(names, (noise(1, 2, FRAMES), noise(*SPECTRUM))))
    return lambda: session.run(None, feeds)


def peak_mb():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def run(peer, precision, cpus, segments):
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what libraries print is no answer
        makers = {
            "torch": torch_forward,
            "openvino": openvino_forward,
            "onnxruntime": onnxruntime_forward,
        }
        forward = makers[peer](precision, len(cpus))
        for _ in range(WARM_UP):
            forward()
        print("ready", file=answers, flush=True)
        sys.stdin.readline()
        seconds = []
        for _ in range(segments):
            start = time.perf_counter()
            forward()
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds, "memory_mb": peak_mb()}), file=answers)


def main():
    match sys.argv[1:]:
        case ["version", peer]:
            print(version(peer))
        case ["weights", model_json]:
            weights(model_json)
        case ["run", peer, precision, cpus, segments]:
            cpus = [int(cpu) for cpu in cpus.split(",")]
            os.sched_setaffinity(0, cpus)  # before a library counts processors
            run(peer, precision, cpus, int(segments))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
