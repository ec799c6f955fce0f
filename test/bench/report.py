#!/usr/bin/python3
"""report.py FIGURES.json [FILE.svg]: what scripts/bench found, as tables (Markdown) and a picture.

bench.py writes the figures and calls this; by hand it draws them again. Needs nothing but Python.
"""

import html
import json
import pathlib
import statistics
import sys

LABELS = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
NETWORK_ONLY = ("openvino", "onnxruntime")
PRECISIONS = ("float32", "bf16")
SEGMENT_TITLE = "seconds for a segment of 7.8 s"


def label(figures, peer):
    text = f"{LABELS.get(peer, peer)} {figures['versions'].get(peer, '')}".strip()
    return text + ", network only" if peer in NETWORK_ONLY else text


def best(figures, what):
    """-> {peer: {precision: {seconds, memory_mb, form}}}: medians, of each peer's fastest form."""
    runs = {}
    for run in figures["runs"]:
        if run["what"] == what:
            runs.setdefault((run["peer"], run["precision"], run["form"]), []).append(run)
    found = {}
    for (peer, precision, form), some in runs.items():
        row = {key: statistics.median(run[key] for run in some) for key in ("seconds", "memory_mb")}
        pairs = [run["seconds"] / run["beside"] for run in some if run.get("beside")]
        row["ratio"] = statistics.median(pairs) if pairs else None
        fastest = found.setdefault(peer, {})
        if precision not in fastest or row["seconds"] < fastest[precision]["seconds"]:
            fastest[precision] = row | {"form": form}
    # msaas last, as the one that all others are measured by
    return dict(sorted(found.items(), key=lambda item: item[0] == "msaas"))


def times(theirs, ours, paired=True):
    """By pairs of runs, one after the other, where there are any: machines drift."""
    if not ours:
        return ""
    ratio = theirs["ratio"] if paired else None
    return f"{ratio or theirs['seconds'] / ours['seconds']:.2f} x"


def beside_fastest(rows, precision):
    """msaas beside the fastest peer of this precision; where none has it, of float32."""
    for other in dict.fromkeys((precision, "float32")):
        peers = [row[other] for peer, row in rows.items() if peer != "msaas" and other in row]
        if peers:
            fastest = min(peers, key=lambda row: row["seconds"])
            name = "the fastest" if other == precision else "the fastest float32"
            faster = times(fastest, rows["msaas"][precision], other == precision)
            return f"**{faster} {name}**"
    return ""


def table_of(figures, what, title):
    rows = best(figures, what)
    if not rows:
        return []
    head = "| {} | {} | memory | msaas' speed | {} | memory | msaas' speed |"
    lines = ["", head.format(title, *PRECISIONS), "|---" * 7 + "|"]
    for peer, row in rows.items():
        name = label(figures, peer)
        cells = [f"**{name}**" if peer == "msaas" else name]
        for precision in PRECISIONS:
            got, ours = row.get(precision), rows.get("msaas", {}).get(precision)
            if got is None:
                cells += ["", "", ""]
                continue
            cells += [
                f"{got['seconds']:.{2 if got['seconds'] < 20 else 1}f} s ({got['form']})",
                f"{got['memory_mb']:.0f} MB",
                beside_fastest(rows, precision) if peer == "msaas" else times(got, ours),
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def song_title(figures):
    seconds = (figures["song"] or {"seconds": 0})["seconds"]
    return f"a song of {seconds:.0f} s to four MP3"


def quality_table(figures):
    if not figures["quality"]:
        return []
    head = "quality of msaas | against | least SNR, loud stems | largest error, quiet stems"
    lines = ["", f"| {head} | largest difference | gate |", "|---" * 6 + "|"]
    for row in figures["quality"]:
        quiet = "" if row["quiet_dbfs"] is None else f"{row['quiet_dbfs']:.1f} dBFS"
        lines.append(
            f"| {row['precision']} | {row['against']} | {row['snr_db']:.1f} dB | {quiet} "
            f"| {row['error']:.1e} | {'holds' if row['good'] else 'BROKEN'} |"
        )
    return lines


def markdown(figures):
    machine = figures["machine"]
    cpus = ", ".join(map(str, machine["cpus"]))
    rounds = figures["rounds"]
    notes = [
        f"Medians of {rounds} round{'s' * (rounds != 1)}, in which peers and msaas took turns; "
        f"{figures['segments']} segments in each, on processors {cpus}, all of them busy.",
        "In brackets: processes x threads, the faster way of two; memory is that of all processes. "
        "msaas' speed: how many times as fast as this peer it is, the median of pairs: after each "
        "run of a peer one of msaas, for machines drift.",
        '"Network only" leaves out the Fourier transforms before and after the network. msaas and '
        "PyTorch do them, so this favours the others.",
        "PyTorch has its tuned allocator (GLIBC_TUNABLES); its bf16 is autocast. `demucs` runs as "
        "it comes, without shifts, as msaas does.",
    ]
    if figures["quality"]:
        notes.append(
            "Loud stems are above -50 dBFS. The gate of bf16: 40 dB of SNR in loud stems, error "
            "below -75 dBFS in quiet ones; of float32: 80 dB, and 1e-4 at every sample."
        )
    load = max((run["load"] for run in figures["runs"]), default=0)
    if load > machine["cpu_count"] + 0.5:  # the run before may have left as much as all processors
        notes.append(f"**Disturbed by other work**: the load before a run was up to {load:.1f}.")
    notes += [f"Left out: {name}: {why}" for name, why in figures["left_out"].items()]
    return "\n".join(
        [f"**{machine['cpu']}** ({machine['vectors']}), {figures['date']}"]
        + table_of(figures, "network", SEGMENT_TITLE)
        + table_of(figures, "song", song_title(figures))
        + quality_table(figures)
        + [""]
        + [f"- {note}" for note in notes]
    )


STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.head { fill: #59636e }
.ours { font-weight: 600 }
.paper { fill: #ffffff; stroke: #d1d9e0 }
.float32 { fill: #2f6fb2 }
.bf16 { fill: #c9661b }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .head { fill: #9aa4af }
  .paper { fill: #0d1117; stroke: #3d444d }
  .float32 { fill: #58a6ff }
  .bf16 { fill: #f0883e }
}
"""
WIDTH, EDGE, LABEL_WIDTH, BAR_WIDTH, BAR_HEIGHT = 880, 20, 240, 220, 15
PANELS = (("seconds", EDGE + LABEL_WIDTH), ("memory_mb", EDGE + LABEL_WIDTH + BAR_WIDTH + 90))


class Picture:
    def __init__(self):
        self.parts, self.y = [], EDGE + 12

    def text(self, x, y, text, kind=""):
        text = html.escape(text)
        self.parts.append(f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{text}</text>')

    def bar(self, x, y, width, kind):
        size = f'width="{width:.1f}" height="{BAR_HEIGHT - 2}"'
        self.parts.append(f'<rect x="{x:.0f}" y="{y:.0f}" {size} class="{kind}"/>')

    def legend(self, precisions):
        """In the corner that the heads of the first section leave free."""
        for k, precision in enumerate(precisions):
            self.bar(EDGE + 80 * k, self.y + 23, BAR_HEIGHT - 2, precision)
            self.text(EDGE + 80 * k + 20, self.y + 34, precision)

    def section(self, figures, what, title):
        """Two bars, seconds and memory, for each precision of each peer."""
        rows = best(figures, what)
        if not rows:
            return
        self.y += 34
        self.text(PANELS[0][1], self.y, title, "head")
        self.text(PANELS[1][1], self.y, "peak memory, MB", "head")
        self.y += 10
        most = {
            key: max(r[key] for row in rows.values() for r in row.values()) for key, _ in PANELS
        }
        for peer, row in rows.items():
            kind = "ours" if peer == "msaas" else ""
            middle = self.y + BAR_HEIGHT * (len(row) + 1) / 2 - 4
            self.text(EDGE, middle, label(figures, peer), kind)
            for precision in (p for p in PRECISIONS if p in row):
                for key, x in PANELS:
                    value = row[precision][key]
                    width = BAR_WIDTH * value / most[key]
                    self.bar(x, self.y, width, precision)
                    digits = 2 if key == "seconds" and value < 20 else 0
                    self.text(x + width + 6, self.y + BAR_HEIGHT - 4, f"{value:.{digits}f}", kind)
                self.y += BAR_HEIGHT
            self.y += 8


def svg(figures):
    machine, picture = figures["machine"], Picture()
    count = len(machine["cpus"])
    title = f"htdemucs on {machine['cpu']}, {count} processor{'s' * (count > 1)}: shorter is better"
    picture.text(EDGE, picture.y, title, "title")
    used = {run["precision"] for run in figures["runs"]}
    picture.legend(precision for precision in PRECISIONS if precision in used)
    picture.section(figures, "network", SEGMENT_TITLE)
    picture.section(figures, "song", f"seconds for {song_title(figures)}")
    height = picture.y + EDGE - 8
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    paper = f'x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="6" class="paper"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f"<rect {paper}/>",
            *picture.parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    read = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(markdown(read))
    for file in sys.argv[2:]:
        pathlib.Path(file).write_text(svg(read), encoding="utf-8")
