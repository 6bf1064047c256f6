#!/usr/bin/env python3
"""The oracle on real editions: five countries of the public file, each published by a node from an empty store, all six years.

`tests/oracle/real.py PROGRAMS DATA`: the folder of the built programs (with the example `oracle-lines`) and the folder with the public
file. ORACLE_SAMPLE (30) protected cells of each year and family are examined, ORACLE_COUNTRIES chooses the countries.
"""
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import oracle  # noqa: E402

# By its path: there are two modules of that name.
spec = importlib.util.spec_from_file_location("measure_protection", HERE.parent / "protection" / "measure.py")
protection = importlib.util.module_from_spec(spec)
spec.loader.exec_module(protection)
PROGRAMS, Stage, archive = protection.PROGRAMS, protection.Stage, protection.archive

DATA = HERE.parent.parent / "protocol" / "data"
COUNTRIES = os.environ.get("ORACLE_COUNTRIES", "ES IT PT DK AT").split()


def folder(country, out):
    """Publishes a country, and writes what the oracle reads: the edition as the operator sees it, and the lines behind it."""
    stage = Stage(country)
    stage.run(
        "import", str(archive()), "--mapping", "unodc-ids", "--only", f"reporting_country={country}", "--skip-bad",
        "--coverage", "2011..2016",
    )
    stage.publish(f"{country} 2011 to 2016")
    shown, _ = stage.run("edition", "show", "--cells")
    (out / "edition-1.json").write_text(json.dumps(shown))
    stage.node.__exit__()
    store = stage.folder / stage.member / "node" / "store"
    subprocess.run([PROGRAMS / "examples" / "oracle-lines", store, country, out / "lines-1.json"], check=True)
    shutil.copy(DATA / "strategic-1.toml", out / "catalogue.toml")
    shutil.copytree(DATA / "lists", out / "lists")
    rules = {"country": country, "k": 5, "p_percent": 15, "dominance_percent": 75, "zeros": "hidden"}
    (out / "rules.json").write_text(json.dumps(rules))
    shutil.rmtree(stage.scratch)


def main():
    failed = False
    for country in COUNTRIES:
        out = pathlib.Path(tempfile.mkdtemp(prefix=f"oracle-{country}-"))
        folder(country, out)
        started = time.monotonic()
        found = oracle.run(str(out), oracle.options([str(out), "--jobs", "2", "--sample", os.environ.get("ORACLE_SAMPLE", "30")]))
        print(f"{country}: {oracle.text(found)}\n  {time.monotonic() - started:.0f} s", flush=True)
        failed |= bool(found.leaks)
        shutil.rmtree(out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
