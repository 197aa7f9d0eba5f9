"""kill -9 while statements are prepared and sent: each customer has one statement, the same as without kills.

What is guaranteed of mails: each statement is mailed, and a mail is written once, in the transaction that issues the
statement. A mail that was on its way when the process died may reach its customer again, one for each kill at most,
since nobody knows whether the mail server had taken it.
"""

import json
import os
import random
from collections import Counter

from test_crash import Worker, measure, work_until_killed

import live

CUSTOMERS = int(os.environ.get("CRASH_CUSTOMERS", "40"))
KILLS = int(os.environ.get("CRASH_KILLS", "4"))
PHASES = ("prepare", "send", "done")


def count_mails(name):
    """How many mails each customer got."""
    marker = f"{name.lower()}."
    mails = live.mails_to(marker, patience=5)
    return Counter(str(mail["To"]).split(marker)[1].split("@")[0] for mail in mails)


def test_invariant_1_kill_at_any_moment_sends_every_statement_once():
    peace, crash = "STATEMENT-PEACE", "STATEMENT-KILLED"
    Worker("make_statements", names=[peace, crash], count=CUSTOMERS).finish()
    seconds = measure(Worker("work_statements", name=peace).finish(), PHASES)
    spans = {phase: 2 * seconds[phase] / KILLS for phase in seconds}
    clock = random.Random()
    hits = Counter(
        work_until_killed(Worker("work_statements", name=crash), PHASES[2 * number // KILLS], spans, clock)
        for number in range(KILLS)
    )
    assert Worker("work_statements", name=crash).finish()[-1][0] == "done"
    print(f"{CUSTOMERS} customers, seconds in peace: {seconds}, kills by phase: {dict(hits)}")

    assert hits["prepare"] and hits["send"], f"the kills hit {hits}: the test shows little"
    found, expected = (
        json.loads(Worker("check_statements", name=name).finish()[-1][0]) for name in (crash, peace)
    )
    numbers = {tuple(number) for number in found.pop("numbers")}
    expected.pop("numbers")
    assert len(numbers) == len(found["statements"]) == CUSTOMERS, "each statement has a number"
    for part, rows in expected.items():
        assert rows, part
        assert found[part] == rows, f"{part}: not as without kills"
    for number, row in enumerate(found["statements"]):
        assert row[1:3] == ["sent", "sent"]
        amounts = [float(amount) for amount in row[5:9]]
        assert amounts == [7.0, 100.0 + number, 40.0, 67.0 + number]
        assert row[-2:] == ["1", "2"], "one mail, and the two files"
    mails = count_mails(crash)
    assert len(mails) == CUSTOMERS, "each customer got a mail"
    assert sum(mails.values()) - CUSTOMERS <= hits["send"], "at most the mail on its way came twice"
    assert set(count_mails(peace).values()) == {1}
