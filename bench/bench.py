"""Measures ours, the plain ORM and the OCA's contract module side by side: bench.py CONFIG OCA_CONFIG [BILLS [ROUNDS]].

CONFIG and OCA_CONFIG are of databases with customer_billing and with contract installed; pass - for none. The
rounds of the sides take turns, the first of each only warms up. With WRITE=1 docs/benchmarks.md is written.
"""

import configparser
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "docs" / "benchmarks.md"


class Worker:
    """A side of the measurement, in its own process."""

    def __init__(self, conf, kind, count):
        config = configparser.RawConfigParser()
        config.read(conf)
        command = [sys.executable, HERE / "worker.py", conf, config["options"]["db_name"], kind, str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read()

    def read(self):
        return json.loads(self.process.stdout.readline())

    def do(self, command):
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.read()

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def measure(confs, count, rounds):
    """{kind: results of its rounds}, the sides taking turns."""
    workers = {kind: Worker(conf, kind, count) for kind, conf in confs.items()}
    for worker in workers.values():
        worker.do("bills")
    found = {kind: [] for kind in workers}
    for _round in range(rounds):
        for kind, worker in workers.items():
            found[kind].append(worker.do("bills"))
    found["proposal"] = [workers["ours"].do("proposal") for _round in range(rounds)]
    for worker in workers.values():
        worker.stop()
    return found


def median(results, *names, scale=1000.0):
    """The median over the rounds of a sum of figures per bill; times in milliseconds."""
    return statistics.median(scale * sum(result[name] for name in names) / result["bills"] for result in results)


def describe(found, count, rounds):
    titles = {"ours": "customer_billing: run, charges, bills, posting", "plain": "plain ORM: create, post",
              "oca": "OCA contract: create, then post", "proposal": "customer_billing: proposal"}  # fmt: skip
    day = datetime.datetime.now(datetime.UTC).date()
    lines = [
        "# Benchmarks", "",
        f"{day}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python "
        f"{platform.python_version()}; {count} bills of three lines with one tax, medians of {rounds} rounds that "
        "took turns in one run. Load of the machine meanwhile: "
        f"{os.getloadavg()[2]:.1f} (where it is above the number of processors, compare processor time).",
        "", "| per bill | wall ms | processor ms | of it Python | statements | memory MB, last |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for kind, results in found.items():
        lines.append(
            f"| {titles[kind]} | {median(results, 'wall'):.1f} | {median(results, 'python', 'database'):.1f} "
            f"| {median(results, 'python'):.1f} | {median(results, 'statements', scale=1):.2f} "
            f"| {results[-1]['peak']:.0f} |"
        )
    ours = found["ours"]
    lines += ["", "| ratio | wall | processor | goal |", "|---|---|---|---|"]
    for kind, title, goal in (("plain", "ours ÷ plain ORM", "≤ 0.5"), ("oca", "OCA ÷ ours", "≥ 2.5, floor 2.0")):
        if kind in found:
            pairs = [[median(side, *names) for side in (ours, found[kind])]
                     for names in (("wall",), ("python", "database"))]  # fmt: skip
            ratios = [f"{a / b if kind == 'plain' else b / a:.2f}" for a, b in pairs]
            lines.append(f"| {title} | {ratios[0]} | {ratios[1]} | {goal} |")
    return "\n".join(lines) + "\n"


def main(conf, oca_conf="-", count="300", rounds="3"):
    confs = {"ours": conf, "plain": conf} | ({} if oca_conf == "-" else {"oca": oca_conf})
    text = describe(measure(confs, int(count), int(rounds)), int(count), int(rounds))
    print(text)
    if os.environ.get("WRITE"):
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
