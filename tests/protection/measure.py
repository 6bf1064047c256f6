"""Measures protection: shares of cases shown with every number witnessed, and the time that publishing takes.

`flat` is month x drug with its quarters and years alone, drugs named as in the file; `linked` publishes all tables of real countries
through the tool; `synthetic` a large agency that does not exist, and then one new month of it. Which parts run, and the size of the
last one, come from the environment: ACCORD_PARTS (default "flat linked synthetic"), ACCORD_CASES (default 300000).
"""
import collections
import csv
import io
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from measure import PROGRAMS, Node, accord  # noqa: E402
from measure_records import memory  # noqa: E402

DATA = pathlib.Path(sys.argv[2])
COUNTRIES = {"Spain": "ES", "Italy": "IT", "Portugal": "PT", "Denmark": "DK"}
PARTS = os.environ.get("ACCORD_PARTS", "flat linked synthetic").split()
CASES = int(os.environ.get("ACCORD_CASES", "300000"))
# month / quarter of a plain sequential search without clean-up and without the rule for insiders, as the issue gives them.
BASELINE = {"Spain": (0.909, 0.938), "Italy": (0.918, 0.942), "Portugal": (0.857, 0.924), "Denmark": (0.783, 0.899)}


def archive():
    """The public file."""
    return next(DATA.glob("**/drug-trafficking-unodc.zip"))


def rows():
    """Year, month and drug of every row of the public file, by country."""
    found = collections.defaultdict(list)
    with zipfile.ZipFile(archive()) as files:
        name = next(name for name in files.namelist() if name.endswith(".csv"))
        with files.open(name) as file:
            for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8-sig"), delimiter=";"):
                year, month, _ = row["SEIZURE_DATE"].split("-")
                if row["COUNTRY"] in COUNTRIES:
                    found[row["COUNTRY"]].append((int(year), int(month), row["DRUG_NAME"]))
    return found


def flat():
    """Month x drug alone."""
    for country, of in rows().items():
        lines = "".join(f"{year}\t{month}\t{drug}\n" for year, month, drug in of)
        said = subprocess.run([PROGRAMS / "examples" / "protect-flat"], input=lines, capture_output=True, text=True, check=True)
        month, quarter = BASELINE[country]
        for line in said.stdout.splitlines():
            print(f"flat {country}, {line} (plain search, no insiders: month {month}, quarter {quarter})", flush=True)


class Stage:
    """A node with an empty store and audited editions."""

    def __init__(self, country):
        self.scratch = pathlib.Path(tempfile.mkdtemp())
        self.folder = self.scratch / "fed"
        self.member = f"{country}-AGENCY"
        other = "IT" if country != "IT" else "ES"
        members = f"{country}-AGENCY,{other}-AGENCY"
        accord(self.scratch, "demo", "--primary-only", "--members", members, "--keep", str(self.folder))
        settings = self.folder / self.member / "node" / "node.toml"
        settings.write_text(settings.read_text().replace("accept_primary_only = true", "accept_primary_only = false"))
        shutil.rmtree(self.folder / self.member / "node" / "store")
        self.node = Node(self.folder, self.member)

    def run(self, *arguments):
        """A command of the operator; its result and seconds."""
        started = time.monotonic()
        result = accord(self.folder, "--profile", f"{self.member}/node/operator", "--deadline", "600", *arguments)
        return result, time.monotonic() - started

    def publish(self, what):
        """Publishes, and says what it took."""
        result, seconds = self.run("edition", "publish")
        audit = result["audit"]
        print(
            f"{what}: published in {seconds:.1f} s, {audit['programmes']} programmes, {audit['protected']} numbers protected "
            f"({audit['one_insider_at_a_time']} against one insider at a time, {audit['insider_excepted']} not against insiders), "
            f"node at most {memory(self.node, 'VmHWM'):.0f} MB",
            flush=True,
        )
        return result

    def close(self):
        """Ends the node and removes everything."""
        self.node.__exit__()
        shutil.rmtree(self.scratch)


def shares(result):
    """Shares shown by table and level set."""
    for table in result["tables"]:
        for level in table["levels"]:
            levels = ",".join(f"{dimension}={name}" for dimension, name in level["levels"].items())
            print(f"  {table['table']} {levels}: {level['cells_shown_percent']} % of cells, {level['cases_shown_percent']} % of cases")


def linked():
    """All tables of real countries, from an empty store."""
    for country in COUNTRIES.values():
        stage = Stage(country)
        stage.run(
            "import", str(archive()), "--mapping", "unodc-ids", "--only", f"reporting_country={country}", "--skip-bad",
            "--coverage", "2011..2016",
        )
        shares(stage.publish(f"linked {country} 2011 to 2016"))
        stage.close()


LISTS = pathlib.Path(__file__).resolve().parent.parent.parent / "protocol" / "data" / "lists"
HEADER = "record_id,case_id,line,date,nuts,source,drug,form,amount,unit,quantity_kind,transport,place_type,concealment,departure\n"


def leaves(name):
    """The finest codes of a list, each with its parent."""
    with open(LISTS / f"{name}.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parents = {row["parent"] for row in rows}
    return [(row["code"], row["parent"], row["level"]) for row in rows if row["code"] not in parents]


def weighed(codes, chance):
    """Codes in some order, the first the most frequent, as the ranks of drugs and regions in real files are."""
    codes = list(codes)
    chance.shuffle(codes)
    return codes, [1 / (rank + 1) ** 1.5 for rank in range(len(codes))]


def synthetic_rows(path, seed, months, cases):
    """Cases of one to three lines, with every code of the lists, by ranks; masses over five decades."""
    codes, chance = random.Random(1), random.Random(seed)
    drugs = weighed([(code, parent if level == "form" else "") for code, parent, level in leaves("drugs-1")], codes)
    with open(LISTS / "nuts-2021.csv", encoding="utf-8") as file:
        places = [row["code"] for row in csv.DictReader(file) if row["country"] == "ES" and row["level"] == "2"]
    regions = weighed(places, codes)
    names = ("transport-1", "place-1", "concealment-1", "countries-1")
    # What is not known has no word; what is left over of a subregion is no country.
    words = [["" if code == "_U" else code for code, *_ in leaves(name) if not code.endswith("_O")] for name in names]
    further = [weighed(of, codes) for of in words]
    pick = lambda of: chance.choices(*of)[0]  # noqa: E731
    with open(path, "w", encoding="utf-8") as file:
        file.write(HEADER)
        for case in range(cases):
            year, month = chance.choice(months)
            day = chance.randint(1, 28)
            region = pick(regions)
            about = ",".join(pick(of) for of in further)
            for line in range(1, 2 + min(int(chance.expovariate(1.5)), 2)):
                code, substance = pick(drugs)
                drug, form = (substance, code) if substance else (code, "")
                mass = 10 ** chance.uniform(-3, 2)
                name = f"{year}x{month}x{case}"
                file.write(
                    f"{name}x{line},{name},{line},{year}-{month:02}-{day:02},{region},synthetic,{drug},{form},{mass:.3f},kg,net,{about}\n"
                )


def synthetic():
    """A large agency that does not exist: five years but for the last two months, then one that closes nothing else, then the last."""
    stage = Stage("ES")
    months = [(year, month) for year in range(2021, 2026) for month in range(1, 13)]
    synthetic_rows(stage.folder / "years.csv", 1, months[:-2], CASES * 58 // 60)
    stage.run("import", "years.csv", "--coverage", "2021-01..2025-10")
    shares(stage.publish(f"synthetic agency, {CASES * 58 // 60} cases of five years (target: 60 s, 1,000 MB)"))
    for (year, month), what in zip(months[-2:], ("that closes neither a quarter nor a year", "that closes a quarter and the year")):
        synthetic_rows(stage.folder / "month.csv", month, [(year, month)], CASES // len(months))
        stage.run("import", "month.csv", "--coverage", f"{year}-{month}")
        stage.publish(f"synthetic agency, one new month {what} (target: 10 s)")
    stage.close()


if __name__ == "__main__":
    for part in PARTS:
        {"flat": flat, "linked": linked, "synthetic": synthetic}[part]()
