"""kill -9 in the middle of a run, again and again: no period is billed twice, none is missing.

CRASH_CONTRACTS and CRASH_KILLS make it longer (2000 and 50 for a whole night's confidence).
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import live

WORKER = Path(__file__).with_name("crash_worker.py")
CONF = os.environ.get("BILLING_CONF", "")
CONTRACTS = int(os.environ.get("CRASH_CONTRACTS", "120"))
KILLS = int(os.environ.get("CRASH_KILLS", "5"))
FIRST, UNTIL, PERIODS = "2026-01-01", "2026-03-15", 3


def spawn(step, **options):
    command = [sys.executable, WORKER, CONF, live.DATABASE, step, json.dumps(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process):
    output, _errors = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output.strip().splitlines()


def test_invariant_1_kill_at_any_moment_bills_every_period_once():
    finish(spawn("make", count=CONTRACTS, first=FIRST))
    clock = random.Random()
    killed = 0
    for _attempt in range(KILLS):
        process = spawn("work", until=UNTIL)
        assert process.stdout.readline().strip() == "READY"
        time.sleep(clock.uniform(0.05, 2.0))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate(timeout=60)
    assert finish(spawn("work", until=UNTIL))[-1] == "DONE"
    found = json.loads(finish(spawn("check"))[-1])

    assert killed, "nothing was killed: the test shows nothing"
    assert len(found["contracts"]) == CONTRACTS
    expected_total = 0
    for number, (_contract, charges, slots, amount, bills, posted) in enumerate(found["contracts"]):
        expected = round(PERIODS * (10.0 * (1 + number % 3) + 33.33), 2)
        expected_total += expected
        assert (charges, slots, posted) == (2 * PERIODS, 2 * PERIODS, 2 * PERIODS), "each period once, on a posted bill"
        assert bills == 1, "all periods of a contract on one bill"
        assert round(amount, 2) == expected
    untaxed, total, receivable = found["bills"]
    assert round(untaxed, 2) == round(expected_total, 2)
    assert round(total, 2) == round(receivable, 2), "the general ledger has what the bills say"
