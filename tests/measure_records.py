"""Measures imports of every kind, of a workbook, memory of a node, undo and compaction, on synthetic rows; prints one line a figure.

Sizes come from the environment: ACCORD_ROWS (rows of each kind, default 300000), ACCORD_MANY_ROWS (default 1000000; 10000000 for
the long run). Rows go to a node of its own with nothing else in it.
"""
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
import zipfile

from measure import Node, accord, show

ROWS = int(os.environ.get("ACCORD_ROWS", "300000"))
MANY = int(os.environ.get("ACCORD_MANY_ROWS", "1000000"))
RUNS = 3
DRUGS = ["COC_HCL", "COC_BASE", "HER_BROWN", "MDMA_TABLET", "AMP_METH_CRYSTAL"]
GROUPS = ["COC", "COC", "HER", "MDMA", "AMP"]


def date(number):
    """A day of the years 2015 to 2024."""
    return f"{2015 + number % 10}-{number % 12 + 1:02}-{number % 28 + 1:02}"


def seizure(number):
    """One seizure of one line; two of them are one case."""
    kind = number % 5
    return (
        f"S{number},K{number // 2},{date(number)},ES30,customs,synthetic,1,{GROUPS[kind]},{DRUGS[kind]},"
        f"{number % 997 + 1}.5,kg,net,container,seaport,in_load,EC"
    )


def purity(number):
    """One sample."""
    kind = number % 5
    return (
        f"P{number},K{number // 2},{date(number)},synthetic,{GROUPS[kind]},{DRUGS[kind]},{number % 100}.{number % 10}0,no,"
        f"base,all,seizure,wholesale"
    )


def price(number):
    """One observation in another currency than the euro."""
    kind = number % 3
    return (
        f"E{number},K{number // 2},{date(number)},synthetic,{GROUPS[kind]},{DRUGS[kind]},{number % 90 + 10},SEK,1,g,retail,"
        f"weighed,test_purchase"
    )


def site(number):
    """One site."""
    return f"X{number},K{number // 2},{date(number)},synthetic,extraction,charcoal"


KINDS = {
    "seizure": (
        "record_id,case_id,date,nuts,agency,source,line,drug,form,amount,unit,quantity_kind,transport,place_type,concealment,departure",
        seizure,
    ),
    "purity": (
        "record_id,case_id,date,source,drug,form,purity_percent,below_detection,expressed_as,sampling,origin,market_level",
        purity,
    ),
    "price": (
        "record_id,case_id,date,source,drug,form,amount,currency,quantity,unit,market_level,weight_basis,price_source",
        price,
    ),
    "site": ("record_id,case_id,date,source,site_role,carrier", site),
}


def write_csv(path, kind, first, count):
    """A canonical file."""
    header, row = KINDS[kind]
    with open(path, "w", encoding="utf-8") as file:
        file.write(header + "\n")
        for number in range(first, first + count):
            file.write(row(number) + "\n")


def write_xlsx(path, kind, first, count):
    """The same rows as a workbook with texts in place."""
    header, row = KINDS[kind]

    def cells(number, values):
        texts = "".join(f'<c t="inlineStr"><is><t>{value}</t></is></c>' for value in values)
        return f'<row r="{number}">{texts}</row>'

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as workbook:
        workbook.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>',
        )
        workbook.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="rId1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        workbook.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="rId1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        with workbook.open("xl/worksheets/sheet1.xml", "w") as sheet:
            sheet.write(f'<worksheet xmlns="{main}"><sheetData>'.encode())
            sheet.write(cells(1, header.split(",")).encode())
            for number in range(count):
                sheet.write(cells(number + 2, row(first + number).split(",")).encode())
            sheet.write(b"</sheetData></worksheet>")


def memory(node, field):
    """Memory of a process in MB: VmRSS now, VmHWM at most so far."""
    for line in pathlib.Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


class Stage:
    """A node of its own, with the demo's sample of another member published and nothing of its own but what is imported here."""

    def __init__(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp())
        self.folder = self.scratch / "fed"
        accord(self.scratch, "demo", "--primary-only", "--members", "ES-AGENCY,IT-AGENCY", "--keep", str(self.folder))
        self.node = Node(self.folder, "ES-AGENCY")

    def run(self, *arguments):
        """A command of the operator; its result and seconds."""
        started = time.monotonic()
        result = accord(self.folder, "--profile", "ES-AGENCY/node/operator", "--deadline", "600", *arguments)
        return result, time.monotonic() - started

    def restart(self):
        """Ends the node and starts it again."""
        self.node.__exit__()
        self.node = Node(self.folder, "ES-AGENCY")

    def close(self):
        """Ends the node and removes everything."""
        self.node.__exit__()
        shutil.rmtree(self.scratch)


def kinds():
    """Rows of each kind and of a workbook per second, stored durably."""
    rates = "Date,SEK\n" + "".join(
        f"{year}-{month:02}-{day:02},{9 + month / 10:.4f}\n" for year in range(2014, 2025) for month in range(1, 13) for day in (1, 8, 15, 22, 28)
    )
    for kind in KINDS:
        speeds = []
        for _ in range(RUNS):
            stage = Stage()
            (stage.folder / "rates.csv").write_text(rates)
            stage.run("rates", "import", "rates.csv")
            write_csv(stage.folder / "rows.csv", kind, 0, ROWS)
            result, _ = stage.run("import", "rows.csv", "--kind", kind)
            speeds.append(result["rows"]["new"] / result["elapsed_ms"] * 1000)
            stage.close()
        show(f"import of {ROWS} {kind} rows, canonical CSV", speeds, "rows/s stored durably")
    speeds, whole = [], []
    for _ in range(RUNS):
        stage = Stage()
        write_xlsx(stage.folder / "rows.xlsx", "seizure", 0, ROWS)
        result, seconds = stage.run("import", "rows.xlsx")
        speeds.append(result["rows"]["new"] / seconds)
        whole.append(seconds)
        stage.close()
    show(f"import of {ROWS} seizure rows, XLSX, whole command", speeds, "rows/s")


def way_back():
    """Undo and compaction, and the memory of a node."""
    undo, compact, idle = [], [], []
    for _ in range(RUNS):
        stage = Stage()
        write_csv(stage.folder / "rows.csv", "seizure", 0, 300_000 - 1945)
        stage.run("import", "rows.csv", "--coverage", "2015..2024")
        stage.restart()
        idle.append(memory(stage.node, "VmRSS"))
        write_csv(stage.folder / "more.csv", "seizure", 1_000_000, 100_000)
        result, _ = stage.run("import", "more.csv")
        _, seconds = stage.run("import", "undo", result["import_id"], "--reason", "measured")
        undo.append(seconds)
        result, seconds = stage.run("compact")
        compact.append(seconds)
        stage.close()
    show("memory of a node with 300,000 records after its start", idle, "MB", "(target: 150 MB)")
    show("undo of 100,000 rows beside 300,000", undo, "s")
    show("compaction of 300,000 records", compact, "s")


def many():
    """A large file: memory at most while it is imported."""
    stage = Stage()
    before = memory(stage.node, "VmHWM")
    write_csv(stage.folder / "many.csv", "seizure", 0, MANY)
    result, seconds = stage.run("import", "many.csv")
    peak = memory(stage.node, "VmHWM")
    print(
        f"import of {MANY} rows: {seconds:.1f} s whole command, {result['rows']['new'] / result['elapsed_ms'] * 1000:.0f} rows/s; "
        f"memory at most {peak:.0f} MB (before: {before:.0f} MB), {(peak - before) * 1048576 / MANY:.0f} bytes a row"
    )
    _, seconds = stage.run("edition", "preview")
    print(f"preview over {MANY} rows without coverage of them: {seconds:.1f} s, memory at most {memory(stage.node, 'VmHWM'):.0f} MB")
    stage.close()


if __name__ == "__main__":
    kinds()
    way_back()
    many()
