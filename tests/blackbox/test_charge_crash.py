"""Automatic charges: kill -9 while the provider is asked, and several jobs at once. No bill is charged twice."""

import json
from collections import Counter

import requests
from test_crash import Worker

import live

BILLS, JOBS = 8, 3


def bills(name):
    return json.loads(Worker("check_charges", name=name).finish()[-1][0])


def references(found):
    """The transactions of the bills; each has one."""
    assert len(found) == BILLS
    assert [len(bill["references"]) for bill in found] == [1] * BILLS
    return [bill["references"][0] for bill in found]


def times_called(calls, found):
    """How often the provider was asked for each of the bills."""
    counts = Counter(calls.read_text().split())
    return [counts[reference] for reference in references(found)]


def tell_outcome(reference):
    """What the provider tells the server by itself (webhook)."""
    params = {"reference": reference, "simulated_state": "done"}
    answer = requests.post(
        f"{live.URL}/payment/demo/simulate_payment", json={"params": params}, timeout=live.TIMEOUT
    )
    assert answer.ok and "error" not in answer.json(), answer.text


def check_paid_once(found):
    for bill in found:
        assert (bill["state"], bill["attempts"], bill["open"]) == ("done", ["done"], 0), bill
        assert bill["payments"] == [bill["total"]], bill


def test_invariant_1_kill_while_the_provider_is_asked_charges_once(tmp_path):
    name, calls = "CHARGE-KILLED", tmp_path / "calls"
    Worker("make_charges", names=[name], count=BILLS).finish()
    for hang in (2, 1):  # one bill is paid between the two that nobody knows about
        worker = Worker("work_charges", name=name, calls=f"{calls}", hang=hang, mute=True)
        assert [worker.lines.get(timeout=120)[0] for _line in range(2)] == ["ready", "asked"]
        worker.kill()
    Worker("work_charges", name=name, calls=f"{calls}", mute=True).finish()
    found = bills(name)
    assert times_called(calls, found) == [1] * BILLS, "nobody is asked twice"
    killed = [bill for bill in found if bill["attempts"] == ["processing"]]
    assert len(killed) == 2, found
    assert [(bill["state"], bill["payments"], bill["open"]) for bill in killed] == [
        ("processing", None, bill["total"]) for bill in killed
    ], "the intent was committed before the provider was asked"
    check_paid_once([bill for bill in found if bill not in killed])

    # one answer comes late, and twice; the other one is asked for, and comes by itself after that
    late, asked_for = (reference for bill in killed for reference in bill["references"])
    for reference in (late, late):
        tell_outcome(reference)
    Worker("work_charges", name=name, calls=f"{calls}").finish()
    found = bills(name)
    check_paid_once(found)
    tell_outcome(asked_for)
    Worker("work_charges", name=name, calls=f"{calls}").finish()
    found = bills(name)
    check_paid_once(found)
    assert times_called(calls, found) == [1] * BILLS


def test_invariant_1_jobs_at_once_charge_once(tmp_path):
    name, calls, start = "CHARGE-AT-ONCE", tmp_path / "calls", tmp_path / "start"
    Worker("make_charges", names=[name], count=BILLS).finish()
    jobs = [
        Worker("work_charges", name=name, calls=f"{calls}", pause=0.2, start=f"{start}") for _job in range(JOBS)
    ]
    for job in jobs:
        assert job.lines.get(timeout=120)[0] == "ready"
    start.touch()
    for job in jobs:
        assert job.finish()[-1][0] == "done"
    Worker("work_charges", name=name, calls=f"{calls}").finish()  # what a job has put off
    found = bills(name)
    check_paid_once(found)
    assert times_called(calls, found) == [1] * BILLS
