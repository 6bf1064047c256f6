#!/usr/bin/env python3
"""The campaign: the program named by ORACLE_FILL fills random sets with editions, and the oracle looks for leaks in them.

ORACLE_SETS (50) sets from ORACLE_SEED (1) on; every fifth is a sequence of two to ten editions with corrections and removals. The
driver is called as `DRIVER FOLDER` and writes edition-N.json for each lines-N.json; it ends with 3 if the random catalogue breaks a limit,
and the next seed takes its place. ORACLE_INSIDERS (5) cases of each set attack from
inside. The first failure ends the campaign and its folder is kept.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import traceback

import oracle
import random_sets
from audit import Found

EVERY = 5
CATALOGUE_REFUSED = 3


def editions(number):
    """How many editions a set has."""
    return 2 + number // EVERY % 9 if number % EVERY == 0 else 1


def one(driver, seed, folder):
    """Fills and audits one set: what was found, or why it could not be."""
    random_sets.write(seed, folder, editions(seed))
    filled = subprocess.run([driver, str(folder)], check=False)
    if filled.returncode == CATALOGUE_REFUSED:
        return None, None
    if filled.returncode:
        return None, f"the driver ended with {filled.returncode}"
    missing = [at for at in range(1, editions(seed) + 1) if not (folder / f"edition-{at}.json").exists()]
    if missing:
        return None, f"the driver wrote no edition {missing[0]}"
    try:
        found = oracle.run(str(folder), oracle.options([str(folder), "--insider", os.environ.get("ORACLE_INSIDERS", "5")]))
    except Exception:
        return None, traceback.format_exc()
    return found, "" if not found.leaks else "\n".join(oracle.words(leak) for leak in found.leaks[:20])


def main():
    driver = os.environ.get("ORACLE_FILL")
    if not driver:
        print("campaign: ORACLE_FILL names the program that fills a folder with editions; it is not set", file=sys.stderr)
        return 2
    first, sets = int(os.environ.get("ORACLE_SEED", "1")), int(os.environ.get("ORACLE_SETS", "50"))
    total, scratch = Found(), pathlib.Path(tempfile.mkdtemp(prefix="oracle-campaign-"))
    done = refused = 0
    while done < sets:
        seed = first + done + refused
        folder = scratch / f"set-{seed}"
        found, wrong = one(driver, seed, folder)
        if found is None and wrong is None:
            refused += 1
            shutil.rmtree(folder)
            if refused > sets:
                print("campaign: more catalogues are refused than taken; random_sets.py is out of step", file=sys.stderr)
                return 1
            continue
        done += 1
        if wrong:
            print(f"campaign: seed {seed} failed, its folder is {folder}\n{wrong}", file=sys.stderr)
            return 1
        total.add(found)
        shutil.rmtree(folder)
    scratch.rmdir()
    print(f"campaign: {sets} sets from seed {first}, {refused} catalogues refused\n{oracle.text(total)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
