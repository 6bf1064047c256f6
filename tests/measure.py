"""Measures import, publication, answers and the demo on the real file; prints one line a figure, three runs each."""
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAMS, DATA = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
STATES = ["ES", "IT", "PT", "AT", "DK", "LV"]
RUNS = 3


def accord(folder, *arguments, good=(0, 1)):
    """Runs the tool and gives its result."""
    said = subprocess.run([PROGRAMS / "accord", *arguments, "--json"], cwd=folder, capture_output=True, text=True)
    if said.returncode not in good:
        sys.exit(f"accord {' '.join(arguments)}: {said.stdout}{said.stderr}")
    return json.loads(said.stdout)["result"]


class Node:
    """A running node."""

    def __init__(self, folder, member):
        self.process = subprocess.Popen(
            [PROGRAMS / "accord-node", "run", f"{member}/node", "--allow-root"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def show(name, values, unit, note=""):
    """One line: the median and all runs."""
    runs = ", ".join(f"{value:.1f}" for value in values)
    print(f"{name}: {statistics.median(values):.1f} {unit} (runs: {runs}){' ' + note if note else ''}")


def demo(members, keep=None):
    """A demo on real data; seconds and result."""
    folder = tempfile.mkdtemp()
    started = time.monotonic()
    result = accord(folder, "demo", "--data", DATA, "--members", ",".join(members), "--keep", keep or f"{folder}/fed")
    return time.monotonic() - started, result, pathlib.Path(keep or f"{folder}/fed")


def volume():
    """The largest single country: rows stored durably per second, from the node's own clock."""
    rates, total = [], []
    for _ in range(RUNS):
        _, result, folder = demo(["CO", "ES"])
        report = result["imports"][0]
        rates.append(report["rows"]["new"] / report["elapsed_ms"] * 1000)
        total.append(100_000 / rates[-1])
        shutil.rmtree(folder.parent)
    show("import of 194,533 Colombian rows", rates, "rows/s stored durably")
    show("... so 100,000 rows take", total, "s", "(target: 10 s)")


def spain_and_answers():
    """Publication of Spain, and answers once connected."""
    _, result, folder = demo(["ES", "IT", "PT", "AT", "DK"])
    members = ["ES-AGENCY", "IT-AGENCY", "PT-AGENCY", "AT-AGENCY", "DK-AGENCY"]
    nodes = [Node(folder, member) for member in members]
    try:
        publish = []
        for _ in range(RUNS):
            started = time.monotonic()
            accord(folder, "edition", "publish", "--profile", "ES-AGENCY/node/operator")
            publish.append((time.monotonic() - started) * 1000)
        show("publishing Spain (whole command, content unchanged)", publish, "ms")
        ask = ["ask", "seizures-year-drug", "--period", "2011..2016", "--profile", "officer", "--from"]
        accord(folder, *ask, ",".join(members[1:]))
        for count in (1, 4):
            inside = []
            for _ in range(20):
                answer = accord(folder, *ask, ",".join(members[1 : 1 + count]))
                inside.append(max(partner["node_us"] for partner in answer["partners"]) / 1000)
            inside.sort()
            print(
                f"answer inside the node, {count} partner(s), connected: median {statistics.median(inside):.1f} ms, "
                f"p95 {inside[18]:.1f} ms of 20 (target: 50 ms)"
            )
        shown = accord(folder, "edition", "show", "--profile", "ES-AGENCY/node/operator")
        print("Spain, share of non-empty cells and of cases shown by level set:")
        for table in shown["tables"]:
            for level in table["levels"]:
                levels = ",".join(f"{dimension}={name}" for dimension, name in level["levels"].items())
                print(f"  {table['table']} {levels}: {level['cells_shown_percent']} % of cells, {level['cases_shown_percent']} % of cases")
    finally:
        for node in nodes:
            node.__exit__()
    shutil.rmtree(folder.parent)


def places():
    """Rows placed by each rule, and the demo's wall time with five and six states."""
    times = []
    for _ in range(RUNS):
        seconds, result, folder = demo(STATES[:5])
        times.append(seconds)
        shutil.rmtree(folder.parent)
    show("demo on real data, five members, wall", times, "s", "(target: 60 s)")
    _, result, folder = demo(STATES)
    for state, report in zip(STATES, result["imports"]):
        place, rows = report["place"], report["rows"]["new"] + report["rows"]["unchanged"]
        shares = ", ".join(f"{rule} {100 * place[rule] / rows:.1f} %" for rule in ("code", "name", "alias", "region_unknown"))
        print(f"places {state}: {rows} rows: {shares}; left out {report['rows']['skipped']}")
    shutil.rmtree(folder.parent)


if __name__ == "__main__":
    volume()
    spain_and_answers()
    places()
