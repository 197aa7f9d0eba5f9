"""kill -9 while notices are sent, again and again: nobody gets a second message, and nobody gets none.

Two sets of equal customers: the notices of one are sent in peace, those of the other by workers that are killed at
random moments. CRASH_NOTICES=1000 CRASH_KILLS=30 is the long form.
"""

import json
import os
import queue
import random
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import live

WORKER = Path(__file__).with_name("collection_crash_worker.py")
CONF = os.environ.get("BILLING_CONF", "")
NOTICES = int(os.environ.get("CRASH_NOTICES", "60"))
KILLS = int(os.environ.get("CRASH_KILLS", "5"))
LIMIT = 300 + 5 * NOTICES  # seconds that a worker may take in all


class Worker:
    """A process that prints what it does; ``lines`` are its words with their time, then None."""

    def __init__(self, step, **options):
        command = [sys.executable, WORKER, CONF, live.DATABASE, step, json.dumps(options)]
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

    def kill_after(self, seconds):
        """Kill it so long after it has begun; returns whether it was at work then."""
        assert self.lines.get(timeout=LIMIT)[0] == "sending"
        time.sleep(seconds)
        is_at_work = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        return is_at_work


def check(name):
    return json.loads(Worker("check", name=name).finish()[-1][0])


def test_invariant_14_kill_at_any_moment_sends_every_notice_once():
    peace, crash = "DUN-PEACE", "DUN-KILLED"
    Worker("make", name=peace, count=NOTICES).finish()
    (_said, start), (_done, end) = Worker("work", name=peace).finish()
    Worker("make", name=crash, count=NOTICES).finish()
    clock, left = random.Random(), []
    for _kill in range(KILLS):
        seconds = clock.uniform(0.0, 1.5 * (end - start) / KILLS)
        if Worker("work", name=crash).kill_after(seconds):
            waiting = sum(row[2] == "queued" for row in check(crash))
            left.append(waiting)
    print(f"{NOTICES} notices, {end - start:.1f} s in peace; waiting after each kill: {left}")
    assert any(0 < waiting < NOTICES for waiting in left), "no kill hit the sending: the test shows little"
    assert Worker("work", name=crash).finish()[-1][0] == "done"

    found, expected = check(crash), check(peace)
    assert len(expected) == NOTICES
    assert found == expected
    for number, _step, state, _amount, messages, mails in found:
        assert (state, messages, mails) == ("sent", 1, 1), number
