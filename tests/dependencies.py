"""Checks Cargo.lock against the version floors that came from security advisories, without a network.

Each floor names its advisory; each exception is dated, says why, and fails when its date has passed, so that it is looked at again.
"""
import datetime
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent

FLOORS = {
    "quinn-proto": ("0.11.15", "RUSTSEC-2026-0037, RUSTSEC-2026-0185"),
    "ring": ("0.17.12", "RUSTSEC-2025-0009: panic with overflow checks"),
    "rustls": ("0.23.18", "RUSTSEC-2024-0399"),
    "rustls-webpki": ("0.103.13", "RUSTSEC-2026-0098, RUSTSEC-2026-0099"),
    "tracing-subscriber": ("0.3.20", "RUSTSEC-2025-0055: escapes in logs"),
    "h2": ("0.4.16", "denial of service"),
}

PINS = {"bincode": "2.0.1", "sled": "0.34.7"}

EXCEPTIONS = {
    "bincode": (datetime.date(2027, 6, 30), "RUSTSEC-2025-0141: unmaintained; fixed by the customer, only behind protocol::codec"),
    "fxhash": (datetime.date(2027, 6, 30), "RUSTSEC-2025-0057: unmaintained; comes with sled 0.34, which the customer fixed"),
    "instant": (datetime.date(2027, 6, 30), "RUSTSEC-2024-0384: unmaintained; comes with sled 0.34, which the customer fixed"),
}

BANNED = {"openssl-sys": "one TLS stack is enough", "nalgebra": "vulnerable; comes with opendp"}


def number(version):
    """The numeric parts of a version, for comparing."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0].split("-")[0]))


def check(packages, today):
    """Every rule that the lock file breaks, in words."""
    broken = []
    for package in packages:
        name, version = package["name"], package["version"]
        if name in FLOORS and number(version) < number(FLOORS[name][0]):
            broken.append(f"{name} {version} is below {FLOORS[name][0]} ({FLOORS[name][1]})")
        if name in PINS and version != PINS[name]:
            broken.append(f"{name} {version} is not the pinned {PINS[name]}")
        if name in BANNED:
            broken.append(f"{name} is banned: {BANNED[name]}")
        if name in EXCEPTIONS and today > EXCEPTIONS[name][0]:
            broken.append(f"the exception for {name} ended on {EXCEPTIONS[name][0]}: {EXCEPTIONS[name][1]}")
        source = package.get("source", "")
        if source and not source.startswith("registry+"):
            broken.append(f"{name} comes from {source}")
    return broken


def main():
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    # The check itself is checked: a lock file that breaks each rule must be seen to.
    bad = [
        {"name": "ring", "version": "0.17.9"},
        {"name": "sled", "version": "1.0.0"},
        {"name": "nalgebra", "version": "0.33.0"},
        {"name": "x", "version": "1.0.0", "source": "git+somewhere"},
    ]
    if len(check(bad, datetime.date(2026, 1, 1))) != len(bad) or len(check([{"name": "fxhash", "version": "0.2.1"}], datetime.date(2030, 1, 1))) != 1:
        sys.exit("the check does not see what it should")
    broken = check(packages, datetime.date.today())
    for rule in broken:
        print(rule)
    print(f"{len(packages)} packages checked, {len(broken)} rules broken")
    sys.exit(1 if broken or not packages else 0)


if __name__ == "__main__":
    main()
