"""Measures the billing engine: bench.py CONFIG OCA_CONFIG [BILLS [ROUNDS [CONTRACTS]]].

First ours, the plain ORM and the OCA's contract module side by side: the rounds of the sides take turns, the first
of each only warms up. Then runs over a tenth of CONTRACTS and over all of them, at last by two processes that share
the journal.

CONFIG and OCA_CONFIG are of databases with customer_billing and with contract installed; pass - for none. With
LARGE=1 there are 10,000 contracts, with WRITE=1 docs/benchmarks.md is written.
"""

import configparser
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "docs" / "benchmarks.md"
LARGE = 10_000

WALL, PROCESSOR = ("wall",), ("python", "database")

TITLES = {
    "ours": "customer_billing: run, charges, checks, bills, posting",
    "plain": "plain ORM: create, post",
    "oca": "OCA contract: create, then post",
    "proposal": "customer_billing: proposal",
}


class Worker:
    """A side of the measurement, in its own process."""

    def __init__(self, conf, kind, count=0):
        config = configparser.RawConfigParser()
        config.read(conf)
        command = [sys.executable, HERE / "worker.py", conf, config["options"]["db_name"], kind, str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker has stopped with code {self.process.wait()}")
        return json.loads(line)

    def send(self, command):
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def do(self, command):
        self.send(command)
        return self.read()

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def do_alone(conf, *commands):
    """The answers of a new process to ``commands``."""
    worker = Worker(conf, "scale")
    answers = [worker.do(command) for command in commands]
    worker.stop()
    return answers


def compare(confs, count, rounds):
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


def scale(conf, contracts):
    """{"few", "many", "two": (proposal, bills)}: a tenth of the contracts, all, all by two processes."""
    found = {}
    for name, count in (("few", contracts // 10), ("many", contracts)):
        do_alone(conf, f"make {count}")
        found[name] = do_alone(conf, "start", "finish")
    workers = [Worker(conf, "scale") for _half in range(2)]
    proposals = [worker.do(f"start {half}") for half, worker in enumerate(workers)]
    began = time.perf_counter()
    for worker in workers:
        worker.send("finish")
    results = [worker.read() for worker in workers]
    both = {key: sum(result[key] for result in results) for key in results[0]}
    found["two"] = (proposals[0], {**both, "wall": time.perf_counter() - began, "top": results[0]["top"]})
    for worker in workers:
        worker.stop()
    return found


def each(result, *names, scale=1000.0):
    """A sum of figures per bill; times in milliseconds."""
    return scale * sum(result[name] for name in names) / result["bills"]


def median(results, *names, **options):
    return statistics.median(each(result, *names, **options) for result in results)


def describe_sides(found):
    yield "| per bill | wall ms | processor ms | of it Python | statements | memory MB, last |"
    yield "|---|---|---|---|---|---|"
    for kind, results in found.items():
        yield (
            f"| {TITLES[kind]} | {median(results, *WALL):.1f} | {median(results, *PROCESSOR):.1f} "
            f"| {median(results, 'python'):.1f} | {median(results, 'statements', scale=1):.2f} "
            f"| {results[-1]['peak']:.0f} |"
        )


def describe_scale(found):
    yield (
        "| run over | proposal s | wall ms per bill | processor ms per bill | statements per bill, all told "
        "| memory MB, most |"
    )
    yield "|---|---|---|---|---|---|"
    for name, (proposal, bills) in found.items():
        count = f"{bills['bills']:,} contracts" + (", two processes" if name == "two" else "")
        shown = "" if name == "two" else f"{proposal['wall']:.1f}"
        told = each(proposal, "statements", scale=1) + each(bills, "statements", scale=1)
        yield (
            f"| {count} | {shown} | {each(bills, *WALL):.1f} | {each(bills, *PROCESSOR):.1f} | {told:.2f} "
            f"| {bills['top']:.0f} |"
        )


def get_goals(sides, runs):
    """(what, wall or figure, processor time, goal, reached or not) of each goal; the machine may be
    busy, so it is the processor time that decides, where there is one."""
    ours = sides["ours"]
    for kind, title, goal, limit in (("plain", "ours ÷ plain ORM", "≤ 0.5", 0.5),
                                     ("oca", "OCA contract ÷ ours", "≥ 2.5, floor 2.0", 2.5)):  # fmt: skip
        if kind in sides:
            wall, processor = (
                median(ours, *names) / median(sides[kind], *names) for names in (WALL, PROCESSOR)
            )
            if kind == "oca":
                wall, processor = 1 / wall, 1 / processor
            reached = processor <= limit if kind == "plain" else processor >= limit
            yield title, f"{wall:.2f}", f"{processor:.2f}", goal, reached
    (_few, few), (proposal, many), (_two, two) = runs["few"], runs["many"], runs["two"]
    told = each(proposal, "statements", scale=1) + each(many, "statements", scale=1)
    yield "SQL statements per posted bill, all told", f"{told:.2f}", "", "≤ 4", told <= 4
    size = f"{many['bills']:,}"
    growth = many["top"] - few["top"]
    yield f"memory growth from {few['bills']:,} to {size} contracts, MB", f"{growth:.0f}", "", "≤ 50", growth <= 50
    wall, processor = (each(many, *names) / each(few, *names) for names in (WALL, PROCESSOR))
    title = f"time per bill at {size} ÷ at {few['bills']:,}"
    yield title, f"{wall:.2f}", f"{processor:.2f}", "≤ 1.2 (linear)", processor <= 1.2
    seconds, limit = sum(proposal[name] for name in PROCESSOR), 20 * many["bills"] / LARGE
    yield (f"proposal of {size} contracts, s", f"{proposal['wall']:.1f}", f"{seconds:.1f}",
           f"≤ {limit:g}", seconds <= limit)  # fmt: skip
    gain = many["wall"] / two["wall"]
    yield "throughput of two processes ÷ one", f"{gain:.2f}", "", "≥ 1.7, on a quiet machine", gain >= 1.7


def describe(sides, runs, count, rounds):
    day = datetime.datetime.now(datetime.UTC).date()
    size = runs["many"][1]["bills"]
    goals = [
        f"| {title} | {figure} | {processor} | {goal} | {'reached' if reached else '**not reached**'} |"
        for title, figure, processor, goal, reached in get_goals(sides, runs)
    ]
    return "\n".join(
        [
            "# Benchmarks", "",
            "`make bench` measures everything here in one run and `WRITE=1` writes this page; "
            '`ARGS="BILLS ROUNDS CONTRACTS"` sets the size, `LARGE=1` takes 10,000 contracts.', "",
            f"{day}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python "
            f"{platform.python_version()}, load of the machine at the end {os.getloadavg()[2]:.1f}. Where that is "
            "above 1, other work disturbs the wall clock: compare processor time.", "",
            "## Goals", "", "| | wall, or figure | processor | goal | |", "|---|---|---|---|---|", *goals, "",
            "## Side by side", "",
            f"{count} bills of three lines with one tax; medians of {rounds} rounds that took turns.", "",
            *describe_sides(sides), "",
            "## Many contracts", "",
            f"Runs of the background job over {size // 10:,} and {size:,} contracts of the same kind, each in a new "
            "process; memory is the most that the process ever used.", "",
            *describe_scale(runs),
        ]
    ) + "\n"  # fmt: skip


def main(conf, oca_conf="-", count="300", rounds="3", contracts="1000"):
    contracts = LARGE if os.environ.get("LARGE") else int(contracts)
    confs = {"ours": conf, "plain": conf} | ({} if oca_conf == "-" else {"oca": oca_conf})
    sides = compare(confs, int(count), int(rounds))
    text = describe(sides, scale(conf, contracts), int(count), int(rounds))
    print(text)
    if os.environ.get("WRITE"):
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
