#!/usr/bin/python3
"""mp4_boxes.py FILE: checks a stem file box by box, and prints what is in it as JSON.

Everything that the boxes say is compared: sizes with the room they have, samples with the bytes of
mdat, durations with each other. The first thing that is wrong ends it with exit code 1."""

import json
import struct
import sys

CONTAINERS = {"moov", "trak", "edts", "mdia", "minf", "dinf", "stbl", "udta"}
STEMS = ["Drums", "Bass", "Other", "Vocals"]


def must(holds, text):
    if not holds:
        sys.exit(f"{sys.argv[1]}: {text}")


def boxes(data, at, end):
    """(type, begin of the content, end) of each box from `at` on; they must fill the room."""
    found = []
    while at < end:
        must(end - at >= 8, f"{end - at} bytes are left at {at}")
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        must(head <= size <= end - at, f"{kind} at {at} has {size} bytes of {end - at}")
        found.append((kind.decode("latin-1"), at + head, at + size))
        at += size
    return found


def tree(data, at, end):
    """{type: [content, ...]} of the boxes from `at` on; a container is such a dictionary itself."""
    out = {}
    for kind, begin, stop in boxes(data, at, end):
        inner = tree(data, begin, stop) if kind in CONTAINERS else data[begin:stop]
        out.setdefault(kind, []).append(inner)
    return out


def one(box, *path):
    for kind in path:
        must(len(box.get(kind, [])) == 1, f"{len(box.get(kind, []))} boxes {kind} in {path}")
        box = box[kind][0]
    return box


def table(box, columns, at=4):
    """The rows of 32-bit numbers behind version, flags and their count."""
    count = struct.unpack_from(">I", box, at)[0]
    width = struct.calcsize(">" + columns)
    must(len(box) == at + 4 + count * width, f"{count} rows in {len(box)} bytes")
    return list(struct.iter_unpack(">" + columns, box[at + 4:]))


def described(stsd):
    must(struct.unpack_from(">II", stsd) == (0, 1), "stsd has one entry")
    (kind, begin, end), = boxes(stsd, 8, len(stsd))
    channels, bits = struct.unpack_from(">HH", stsd, begin + 16)
    rate = struct.unpack_from(">I", stsd, begin + 24)[0] >> 16
    (config, at, stop), = boxes(stsd, begin + 28, end)
    must(channels == 2 and bits == 16 and rate == 44100, f"{channels}, {bits}, {rate}")
    must((kind, config) in (("mp4a", "esds"), ("alac", "alac")), f"{config} in {kind}")
    if kind == "mp4a":  # descriptors in each other, each with its size in one byte
        es = stsd[at + 4:stop]
        must(es[0] == 3 and es[1] == len(es) - 2 and es[4] == 0, "descriptor of the stream")
        must(es[5] == 4 and es[6] == len(es) - 7 - 3 and es[7:9] == b"\x40\x15", "of the decoder")
        must(es[20] == 5 and es[21] == len(es) - 22 - 3, "of the configuration")
        must(es[-3:] == b"\x06\x01\x02", "of the layer below")
        must(es[22] >> 3 == 2, "AAC LC")
    else:
        must(stop - at == 28, "ALAC's configuration")
        must(struct.unpack_from(">I", stsd, stop - 4)[0] == 44100, "ALAC's rate")
    return kind


def track(trak, number):
    tkhd = one(trak, "tkhd")
    flags, = struct.unpack_from(">I", tkhd)
    ident, duration = struct.unpack_from(">I4xI", tkhd, 12)
    must(len(tkhd) == 84 and ident == number, f"track {number} has the ID {ident}")
    must(flags == (3 if number == 1 else 2), f"track {number} has the flags {flags}")
    (edit, priming, rate), = table(one(trak, "edts", "elst"), "III")
    must((edit, rate) == (duration, 0x10000), f"edit of {edit} frames at {rate}")
    media, stbl = one(trak, "mdia"), one(trak, "mdia", "minf", "stbl")
    scale, length = struct.unpack_from(">II", one(media, "mdhd"), 12)
    handler = one(media, "hdlr")
    must(handler[8:12] == b"soun" and handler[-1:] == b"\0", "handler of sound")
    must(one(media, "minf", "smhd") == bytes(8), "smhd")
    must(one(media, "minf", "dinf", "dref")[4:] == b"\0\0\0\1\0\0\0\x0curl \0\0\0\1", "dref")
    sizes = [size for size, in table(one(stbl, "stsz"), "I", 8)]
    (count, frames), (rest, last) = table(one(stbl, "stts"), "II")
    must((count + rest, rest) == (len(sizes), 1) and 0 < last <= frames, "stts")
    must(scale == 44100 and length == count * frames + last == priming + edit, "mdhd")
    return {"name": handler[24:-1].decode(), "codec": described(one(stbl, "stsd")),
            "frames": edit, "sizes": sizes, "chunks": chunks(stbl, sizes)}


def chunks(stbl, sizes):
    """(begin, end) of each chunk."""
    offsets = [at for at, in table(one(stbl, "co64"), "Q")]
    runs = table(one(stbl, "stsc"), "III")
    must(not runs or runs[0][0] == 1, "stsc begins with the first chunk")
    out, used = [], 0
    for i, at in enumerate(offsets):
        samples = [run for run in runs if run[0] <= i + 1][-1][1]
        out.append((at, at + sum(sizes[used:used + samples])))
        used += samples
    must(used == len(sizes), f"{used} samples in chunks, {len(sizes)} in all")
    return out


def tags(udta):
    meta = udta.get("meta", [])
    if not meta:
        return {}
    inner = dict((kind, meta[0][begin:end]) for kind, begin, end in
                 boxes(meta[0], 4, len(meta[0])))
    must(list(inner) == ["hdlr", "ilst"] and inner["hdlr"][8:16] == b"mdirappl", "meta")
    out = {}
    for kind, begin, end in boxes(inner["ilst"], 0, len(inner["ilst"])):
        (data, at, stop), = boxes(inner["ilst"], begin, end)
        must(data == "data", f"{data} in {kind}")
        text = inner["ilst"][at + 8:stop]
        out[kind] = text.decode() if inner["ilst"][at + 3] == 1 else len(text)
    return out


def main():
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    top = boxes(data, 0, len(data))
    must([kind for kind, _, _ in top] == ["ftyp", "mdat", "moov"], f"{top}")
    must(data[8:12] == b"M4A ", "brand")
    moov = tree(data, top[2][1], top[2][2])
    must(list(moov) == ["mvhd", "trak", "udta"] and len(moov["trak"]) == 5, f"{list(moov)}")
    scale, duration = struct.unpack_from(">II", one(moov, "mvhd"), 12)
    must(len(one(moov, "mvhd")) == 100 and one(moov, "mvhd")[-4:] == b"\0\0\0\6", "mvhd")
    tracks = [track(trak, i + 1) for i, trak in enumerate(moov["trak"])]
    must(scale == 44100 and {t["frames"] for t in tracks} == {duration}, "durations")
    must([t["name"] for t in tracks] == ["Mix"] + STEMS, "names of the tracks")
    # The chunks of all tracks fill mdat, without a gap and without a byte that two share.
    at = top[1][1]
    for begin, end in sorted(piece for t in tracks for piece in t["chunks"]):
        must(begin == at, f"a chunk at {begin}, not at {at}")
        at = end
    must(at == top[1][2], f"mdat ends at {top[1][2]}, its samples at {at}")
    udta = one(moov, "udta")
    stem = json.loads(one(udta, "stem"))
    must(stem["version"] == 1 and [s["name"] for s in stem["stems"]] == STEMS, "stem")
    must(all(len(s["color"]) == 7 and int(s["color"][1:], 16) for s in stem["stems"]), "colours")
    must({n: d["enabled"] for n, d in stem["mastering_dsp"].items()} ==
         {"compressor": False, "limiter": False}, "mastering_dsp")
    print(json.dumps({"codec": tracks[0]["codec"], "frames": duration, "tags": tags(udta)}))


main()
