"""kill -9 in the middle of a run, again and again: no period is billed twice, none is missing.

Two sets of equal contracts: one is billed in peace, the other by workers that are killed at random moments of every
phase. In the end both must be the same, row by row. CRASH_CONTRACTS=2000 CRASH_KILLS=50 is the long form.
"""

import json
import os
import queue
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Thread

import live

WORKER = Path(__file__).with_name("crash_worker.py")
CONF = os.environ.get("BILLING_CONF", "")
CONTRACTS = int(os.environ.get("CRASH_CONTRACTS", "120"))
KILLS = int(os.environ.get("CRASH_KILLS", "5"))
CHUNK = max(8, CONTRACTS // 100)
UNTIL, PERIODS = "2026-03-15", 3
PHASES = ("propose", "generate", "post", "send", "done")
LIMIT = 300 + 5 * CONTRACTS  # seconds that a worker may take in all


class Worker:
    """A process that prints where it is; ``lines`` are its words with their time, then None."""

    def __init__(self, step, **options):
        command = [sys.executable, WORKER, CONF, live.DATABASE, step, json.dumps({"chunk": CHUNK, **options})]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put((line.strip(), time.monotonic()))
        self.lines.put((None, time.monotonic()))

    def finish(self):
        """All that it printed, when it has ended well."""
        said = []
        while (line := self.lines.get(timeout=LIMIT))[0] is not None:
            said.append(line)
        assert self.process.wait() == 0
        return said

    def kill(self):
        self.process.kill()
        self.process.wait()


def measure(said, phases=PHASES):
    """Seconds that a run in peace spent in each phase."""
    assert [phase for phase, _time in said] == list(phases)
    times = [at for _phase, at in said]
    return {phase: times[i + 1] - times[i] for i, phase in enumerate(phases[:-1])}


def work_until_killed(worker, aim, spans, clock):
    """Let a worker get to the phase AIM (or find itself in a later one), and kill it at a random moment of it.

    :param dict spans: seconds, by phase in their order
    :return: the phase it was in, or None when it was done before
    """
    phases = [*spans]
    phase, deadline = None, None
    while True:
        try:
            wait = max(0.0, deadline - time.monotonic()) if deadline else LIMIT
            phase, _at = worker.lines.get(timeout=wait)
        except queue.Empty:
            assert deadline, "the worker does not get on"
            worker.kill()
            return phase
        if phase in (None, "done"):
            assert worker.process.wait() == 0
            return None
        if not deadline and phases.index(phase) >= phases.index(aim):
            deadline = time.monotonic() + clock.uniform(0.0, spans[phase])


def test_invariant_1_kill_at_any_moment_bills_every_period_once():
    peace, crash = "CRASH-PEACE", "CRASH-KILLED"
    Worker("make", names=[peace, crash], count=CONTRACTS).finish()
    seconds = measure(Worker("work", name=peace, until=UNTIL).finish())
    per_phase = KILLS / (len(PHASES) - 1)
    spans = {phase: 1.5 * seconds[phase] / per_phase for phase in seconds}
    clock = random.Random()
    hits = Counter(
        work_until_killed(
            Worker("work", name=crash, until=UNTIL), PHASES[int(number / per_phase)], spans, clock
        )
        for number in range(KILLS)
    )
    assert Worker("work", name=crash, until=UNTIL).finish()[-1][0] == "done"
    print(f"{CONTRACTS} contracts, seconds in peace: {seconds}, kills by phase: {dict(hits)}")

    assert len(set(hits) - {None}) >= min(3, KILLS), f"the kills hit {hits}: the test shows little"
    found, expected = (json.loads(Worker("check", name=name).finish()[-1][0]) for name in (crash, peace))
    numbers, _unused = found.pop("numbers"), expected.pop("numbers")
    for part, rows in expected.items():
        assert rows, part
        assert found[part] == rows, f"{part}: not as without kills"
    check_slots(found["charges"])
    check_simple_contracts(found)
    assert len({tuple(number) for number in numbers}) == len(numbers) == len(found["bills"]), "each bill has a number"


def check_slots(charges):
    """No period twice; every entry on a posted bill."""
    keys = Counter((row[0], row[1], row[2], row[3], row[4], row[8]) for row in charges)
    assert max(keys.values()) == 1
    assert {(row[13], row[14]) for row in charges} == {("billed", "posted")}


def check_simple_contracts(found):
    """What the plain contracts cost, computed here."""
    sums, slots = Counter(), Counter()
    for row in found["charges"]:
        sums[int(row[0])] += float(row[11])
        slots[int(row[0])] += 1
    for number in range(0, CONTRACTS, 4):
        assert slots[number] == 2 * PERIODS
        assert round(sums[number], 2) == round(PERIODS * (10.0 * (1 + number % 3) + 33.33), 2)
    receivable = sum(float(row[11]) for row in found["lines"] if row[2] == "payment_term")
    assert round(receivable, 2) == round(sum(float(row[6]) for row in found["bills"]), 2)
