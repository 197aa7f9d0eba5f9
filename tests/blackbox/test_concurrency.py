"""Two people at once, over a server with two workers: nothing is billed twice, nothing is lost."""

import datetime
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

import live

START = datetime.date.today().replace(day=1)
NEXT = (START + datetime.timedelta(days=32)).replace(day=1)
CONTRACTS = 12


@pytest.fixture(scope="module")
def contracts(company, staff):
    return [company.make_contract(staff["officer"], "alpha", START.isoformat()) for _number in range(CONTRACTS)]


def propose(session, contracts, day):
    runs = session.env["billing.run"]
    run = runs.create(
        {"date": day.isoformat(), "invoice_date": START.isoformat(), "contract_ids": [(6, 0, contracts)]}
    )
    runs.browse(run).action_propose()
    return run


def at_once(*calls):
    """Call at the same time, each in a session of its own; errors are results."""

    start = Barrier(len(calls))
    sessions = [live.rpc("test-officer") for _call in calls]

    def attempt(call, session):
        start.wait()
        try:
            return call(session)
        except Exception as error:  # what the loser is told
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(attempt, calls, sessions))


def entries(session, contracts):
    """The ledger by contract line and slot."""
    found = {}
    for charge in session.env["billing.charge"].search_read(
        [("contract_id", "in", contracts), ("state", "!=", "void")], ["contract_line_id", "slot_start", "amount"]
    ):
        found.setdefault((charge["contract_line_id"][0], charge["slot_start"]), []).append(charge["amount"])
    return found


def test_invariant_1_two_runs_at_once_bill_once(staff, contracts):
    session = staff["officer"]
    runs = [propose(session, contracts, START) for _number in range(2)]
    at_once(*(lambda s, run=run: s.env["billing.run"].browse(run).action_generate() for run in runs))
    # a contract that the other run held at that moment is left to the next run
    session.env["billing.run"].browse(propose(session, contracts, START)).action_generate()
    ledger = entries(session, contracts)
    assert len(ledger) == 2 * CONTRACTS
    assert all(len(amounts) == 1 for amounts in ledger.values())
    lines = session.env["account.move.line"].search_read(
        [("move_id.billing_contract_ids", "in", contracts), ("display_type", "=", "product")], ["price_subtotal"]
    )
    assert round(sum(line["price_subtotal"] for line in lines), 2) == CONTRACTS * 230.5


def test_invariant_1_a_double_click_bills_once(staff, contracts):
    run = propose(staff["officer"], contracts, NEXT)
    at_once(*[lambda s: s.env["billing.run"].browse(run).action_generate()] * 2)
    ledger = entries(staff["officer"], contracts)
    assert len(ledger) == 4 * CONTRACTS
    assert all(len(amounts) == 1 for amounts in ledger.values())


def test_invariant_1_a_pause_beside_a_run_is_not_lost(company, staff):
    session = staff["officer"]
    paused = [company.make_contract(session, "beta", START.isoformat()) for _number in range(6)]
    run = propose(session, paused, START)
    pauses = [
        lambda s, contract=contract: s.env["billing.contract"].browse(contract).action_pause(START.isoformat())
        for contract in paused[:3]
    ]
    at_once(lambda s: s.env["billing.run"].browse(run).action_generate(), *pauses)
    assert session.env["billing.contract.pause"].search_count([("contract_id", "in", paused)]) == 3
    session.env["billing.run"].browse(propose(session, paused, START)).action_generate()
    sums = {}
    for charge in session.env["billing.charge"].search_read(
        [("contract_id", "in", paused), ("state", "!=", "void")], ["contract_id", "amount"]
    ):
        sums[charge["contract_id"][0]] = round(sums.get(charge["contract_id"][0], 0) + charge["amount"], 2)
    assert [sums.get(contract, 0) for contract in paused] == [0, 0, 0, 230.5, 230.5, 230.5]
