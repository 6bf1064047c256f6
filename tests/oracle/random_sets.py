#!/usr/bin/env python3
"""Random folders for the oracle: a small star over the shipped code lists, lines with cases that span several of them, and rules.

`random_sets.py SEED OUT [EDITIONS]`: the same seed makes the same folder. With more than one edition the lines of later ones are
the earlier ones with additions, corrections and removals. There are no editions in it; the driver fills them.
"""
import hashlib
import json
import pathlib
import random
import shutil
import sys

from lattice import UNKNOWN, Lists, read_catalogue, weight_is_mass
from truth import Kind

LISTS = pathlib.Path(__file__).resolve().parents[2] / "protocol" / "data" / "lists"
YEAR = "2011"
# Further dimension: its list and the sets of levels that are tried.
FURTHER = {
    "region": ("nuts-2021", (["nuts0", "nuts1"], ["nuts0", "nuts1", "nuts2"], ["nuts1", "nuts2"])),
    "transport": ("transport-1", (["all", "mode"], ["mode"])),
    "place": ("place-1", (["all", "place"], ["place"])),
    "concealment": ("concealment-1", (["all", "concealment"], ["concealment"])),
    "weight": ("weight-1", (["all", "band"], ["band"])),
}
# Countries with few regions, so that brute force over everything stays near.
COUNTRIES = ("DK", "EE", "HR", "IE", "SI")


def dimension(name, of, default):
    return f'[[table.dimension]]\nname = "{name}"\nlist = "{of}"\ndefault = "{default}"\n'


def measure(name, of, step=1):
    return f'[[table.measure]]\nid = "{name}"\nof = "{of}"\nunit = "1"\nstep = {step}\nnote = "n"\n'


def grid(levels, measures):
    inner = ", ".join(f"{name} = {json.dumps(some)}" for name, some in levels.items())
    return f"[[table.grid]]\nlevels = {{ {inner} }}\nmeasures = {json.dumps(measures)}\n"


def head(number, title):
    return (
        f'[[table]]\nid = {number}\nname = "{title}"\nversion = 1\nkind = "seizure"\ntitle = "{title}"\n'
        'counting_unit = "line"\nmethod = ["m"]\n'
    )


def hub(chance):
    """The table of time by drug. All-drug rows exist by year only."""
    measures = {"seizures": "lines"}
    if chance.random() < 0.5:
        measures["seizures_weighed"] = "lines_weighed"
    counts = list(measures)
    if chance.random() < 0.6:
        measures["quantity_mg"] = "mass_mg"
    drugs = chance.choice((["group"], ["group", "substance"]))
    text = head(1, "hub") + dimension("time", "time", "year") + dimension("drug", "drugs-1", "group")
    text += "".join(measure(name, of, 100_000 if of == "mass_mg" else 1) for name, of in measures.items())
    text += grid({"time": ["year"], "drug": ["all"]}, counts)
    text += grid({"time": ["year"], "drug": drugs}, list(measures))
    finer = chance.choice(([], ["quarter"], ["quarter", "month"]))
    return text + (grid({"time": finer, "drug": drugs}, list(measures)) if finer else "")


def further(chance, number, names):
    """A table with one or two dimensions beyond the hub."""
    text = head(number, "-".join(names)) + dimension("time", "time", "year") + dimension("drug", "drugs-1", "group")
    levels = {"time": ["year"], "drug": chance.choice((["all", "group"], ["group"], ["all", "group", "substance"]))}
    for name in names:
        of, sets = FURTHER[name]
        levels[name] = chance.choice(sets)
        text += dimension(name, of, levels[name][0])
    text += measure("seizures", "lines") + grid(levels, ["seizures"])
    if chance.random() < 0.3:
        text += grid({**levels, "time": ["quarter"], "drug": ["group"]}, ["seizures"])
    return text


def catalogue(chance):
    """Two to four dimensions: the hub, and up to two more, each in a table of its own or both in one."""
    names = chance.sample(sorted(FURTHER), chance.choice((0, 1, 1, 2, 2)))
    tables = [hub(chance)]
    if len(names) == 2 and chance.random() < 0.3 and "weight" not in names and "concealment" not in names:
        tables.append(further(chance, 2, names))
    else:
        tables += [further(chance, number + 2, [name]) for number, name in enumerate(names)]
    lists = sorted({"drugs-1", *(FURTHER[name][0] for name in names)})
    text = 'id = "random"\n'
    for name in lists:
        digest = hashlib.sha256((LISTS / f"{name}.csv").read_bytes()).hexdigest()
        text += f'[[list]]\nname = "{name}"\nsha256 = "{digest}"\n'
    return text + "\n".join(tables), lists


class Lines:
    """A source of lines that use a few codes of each list, some of them far more often."""

    def __init__(self, chance, kind, lists):
        self.chance, self.kind, self.cases = chance, kind, 0
        self.used, self.bands = {}, {}
        for name, tree in kind.trees.items():
            if name not in ("time", "flag"):
                leaves = [tree.codes[leaf] for leaf in sorted(tree.everything)]
                self.used[name] = chance.sample(leaves, min(len(leaves), chance.randint(2, 6)))
        self.months = chance.sample(range(1, 13), chance.randint(1, 6))
        if "weight" in kind.trees:
            self.bands = {row["code"]: row for row in lists.rows("weight-1")}
            # Every line with a mass has a band, and both kinds of line should occur.
            self.used["weight"] = [*(code for code in self.used["weight"] if code not in ("_Z", UNKNOWN)), "1KG_3KG", UNKNOWN]

    def pick(self, some):
        return some[min(len(some) - 1, int(self.chance.expovariate(1.0)))]

    def line(self, case):
        line = {"kind": "seizure", "case": case, "time": self.time()}
        line |= {name: self.pick(codes) for name, codes in self.used.items()}
        if "weight" in line:
            if weight_is_mass(line["weight"]):
                band = self.bands[line["weight"]]
                low = int(band["from_mg"])
                line["mass_mg"] = self.chance.randint(low, int(band["to_mg"] or low * 3) - 1)
        elif self.chance.random() < 0.8:
            line["mass_mg"] = int(10 ** self.chance.uniform(3, 8)) if self.chance.random() < 0.9 else 10**10
        return line

    def time(self):
        month = self.pick(self.months)
        return self.chance.choices((f"{YEAR}-{month:02}", f"{YEAR}-Q{(month + 2) // 3}", YEAR), (20, 1, 1))[0]

    def some(self, number):
        """Lines of new cases: most have one line, some many."""
        found = []
        while len(found) < number:
            self.cases += 1
            found += [self.line(f"case-{self.cases}") for _ in range(self.chance.choice((1, 1, 1, 1, 2, 3, 12)))]
        return found[:number]

    def later(self, lines):
        """The next edition's lines: added, corrected, removed, or the same."""
        what = self.chance.choice(("same", "few", "many", "correct", "remove", "everything"))
        lines = list(lines)
        if what in ("few", "everything"):
            lines += self.some(self.chance.randint(1, 3))
        if what in ("many", "everything"):
            lines += self.some(self.chance.randint(8, 30))
        if what in ("correct", "everything") and lines:
            at = self.chance.randrange(len(lines))
            lines[at] = self.line(lines[at]["case"])
        if what in ("remove", "everything") and lines:
            gone = self.chance.choice(lines)["case"]
            lines = [line for line in lines if line["case"] != gone]
        return lines


def seed_of_months(seed):
    return random.Random(f"accord months {seed}")


def seed_of_corrections(seed):
    return random.Random(f"accord corrections {seed}")


def seed_of_waivers(seed):
    return random.Random(f"accord waivers {seed}")


def write(seed, out, editions=1):
    """Makes a folder that the driver can fill."""
    chance, out = random.Random(f"accord {seed}"), pathlib.Path(out)
    out.mkdir(parents=True)
    (out / "lists").mkdir()
    text, lists = catalogue(chance)
    (out / "catalogue.toml").write_text(text)
    for name in lists:
        shutil.copy(LISTS / f"{name}.csv", out / "lists")
    rules = {
        "country": chance.choice(COUNTRIES), "k": chance.choice((3, 5, 5)), "p_percent": chance.choice((10, 15)),
        "dominance_percent": 75, "zeros": chance.choice(("hidden", "hidden", "shown")),
    }
    (out / "rules.json").write_text(json.dumps(rules))
    read = Lists(out / "lists", rules["country"])
    source = Lines(chance, Kind("seizure", YEAR, read_catalogue(out / "catalogue.toml", read), read), read)
    lines = source.some(chance.choice((3, 12, 40, 120, 300)))
    if editions > 1 and seed_of_months(seed).random() < 0.5:
        # Months that are published, edition by edition: the year closes while its records go on changing.
        steps = seed_of_months(seed).choice(((3, 6, 9, 12), (6, 7, 12), (2, 12), (11, 12)))
        (out / "months.json").write_text(json.dumps(steps))
    if editions > 1 and seed_of_corrections(seed).random() < 0.4:
        # Editions that two people agree on: made anew, whatever may be seen of it.
        chosen = seed_of_corrections(seed).sample(range(2, editions + 1), min(editions - 1, seed_of_corrections(seed).choice((1, 1, 2))))
        (out / "corrects.json").write_text(json.dumps(sorted(chosen)))
    if editions > 1 and seed_of_waivers(seed).random() < 0.5:
        # Editions with which a small number is shown because it is public anyway.
        (out / "waives.json").write_text(json.dumps(sorted(seed_of_waivers(seed).sample(range(2, editions + 1), min(editions - 1, 3)))))
    for edition in range(1, editions + 1):
        (out / f"lines-{edition}.json").write_text(json.dumps(lines))
        lines = source.later(lines)


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
