"""The main job from outside: contract → run → bill → ledger, mail, PDF, portal; and who gets nothing."""

import datetime
import re

import pytest
import requests
from odoorpc.error import RPCError

import live

TODAY = datetime.date.today()
START = (TODAY.replace(day=1) - datetime.timedelta(days=40)).replace(day=1)  # two or three whole months ago


def slots():
    """Starts of the monthly periods from START that are billable in advance by today."""
    day, found = START, []
    while day <= TODAY:
        found.append(day)
        day = (day + datetime.timedelta(days=32)).replace(day=1)
    return found


PER_PERIOD = 2 * 100 + 30.5
TAX_PER_PERIOD = 20.0


@pytest.fixture(scope="module")
def billed(company, staff):
    """A contract of Alpha taken through a whole run by the officer; what each step left is kept for the tests."""
    session = staff["officer"]
    contract = company.make_contract(session, "alpha", START.isoformat())
    other = company.make_contract(session, "beta", START.isoformat(), quantity=7)
    runs = session.env["billing.run"]
    run = runs.create(
        {"date": TODAY.isoformat(), "invoice_date": TODAY.isoformat(), "contract_ids": [(6, 0, [contract, other])]}
    )
    seen = {}
    for step in ("propose", "generate", "approve", "post", "send"):
        getattr(runs.browse(run), f"action_{step}")()
        seen[step] = runs.read([run], ["state", "amount_total", "bill_count", "move_ids"])[0]
        seen[step]["charges"] = session.env["billing.charge"].search_count([("contract_id", "=", contract)])
    moves = session.env["account.move"].search_read(
        [("billing_run_id", "=", run)],
        ["name", "partner_id", "state", "amount_untaxed", "amount_tax", "amount_total", "billing_contract_ids"],
    )
    return {
        "run": run,
        "contract": contract,
        "other": other,
        "seen": seen,
        "moves": moves,
        "alpha": [move for move in moves if contract in move["billing_contract_ids"]],
        "beta": [move for move in moves if other in move["billing_contract_ids"]],
    }


def test_each_step_leaves_the_run_in_its_state(billed):
    states = {step: seen["state"] for step, seen in billed["seen"].items()}
    assert states == {
        "propose": "proposed",
        "generate": "generated",
        "approve": "approved",
        "post": "posted",
        "send": "sent",
    }


def test_proposal_books_nothing(billed):
    proposed = billed["seen"]["propose"]
    assert proposed["charges"] == 0
    assert proposed["move_ids"] == []


def test_invariant_5_proposal_equals_result(billed):
    proposed, made = billed["seen"]["propose"], billed["seen"]["generate"]
    assert proposed["amount_total"] == pytest.approx(made["amount_total"], abs=0.001)
    assert proposed["bill_count"] == made["bill_count"] > 0


def test_bills_have_the_right_amounts(billed):
    count = len(slots())
    assert count >= 2
    assert {move["state"] for move in billed["moves"]} == {"posted"}
    assert sum(move["amount_untaxed"] for move in billed["alpha"]) == pytest.approx(count * PER_PERIOD)
    assert sum(move["amount_tax"] for move in billed["alpha"]) == pytest.approx(count * TAX_PER_PERIOD)
    assert sum(move["amount_untaxed"] for move in billed["beta"]) == pytest.approx(count * (700 + 30.5))


def test_ledger_agrees_with_the_bills(billed, staff, company):
    lines = staff["officer"].env["account.move.line"].search_read(
        [("move_id.billing_run_id", "=", billed["run"]), ("parent_state", "=", "posted")],
        ["debit", "credit", "balance", "account_type", "tax_line_id"],
    )
    total = sum(move["amount_total"] for move in billed["moves"])
    receivable = [line for line in lines if line["account_type"] == "asset_receivable"]
    assert sum(line["debit"] for line in receivable) == pytest.approx(total)
    assert sum(line["credit"] for line in receivable) == 0
    assert sum(line["balance"] for line in lines) == pytest.approx(0)
    taxes = sum(line["credit"] for line in lines if line["tax_line_id"] and line["tax_line_id"][0] == company.tax)
    assert taxes == pytest.approx(sum(move["amount_tax"] for move in billed["moves"]))
    income = sum(line["credit"] for line in lines if line["account_type"] == "income" and not line["tax_line_id"])
    assert income == pytest.approx(sum(move["amount_untaxed"] for move in billed["moves"]))


def test_invariant_1_a_second_run_bills_nothing(billed, staff):
    env = staff["officer"].env
    run = env["billing.run"].create(
        {"date": TODAY.isoformat(), "invoice_date": TODAY.isoformat(), "contract_ids": [(6, 0, [billed["contract"]])]}
    )
    env["billing.run"].browse(run).action_propose()
    seen = env["billing.run"].read([run], ["bill_count", "amount_total"])[0]
    assert (seen["bill_count"], seen["amount_total"]) == (0, 0)
    lines = env["billing.run.line"].search_read([("run_id", "=", run)], ["outcome", "reason"])
    assert [line["outcome"] for line in lines] == ["nothing"]
    assert lines[0]["reason"]
    charges = env["billing.charge"].search_read(
        [("contract_id", "=", billed["contract"]), ("state", "!=", "void")], ["contract_line_id", "slot_start", "state"]
    )
    assert {charge["state"] for charge in charges} == {"billed"}
    keys = [(charge["contract_line_id"][0], charge["slot_start"]) for charge in charges]
    assert len(keys) == len(set(keys)) == 2 * len(slots())
    assert {key[1] for key in keys} == {day.isoformat() for day in slots()}
    env["billing.run"].browse(run).action_cancel()


@pytest.fixture(scope="module")
def mail(billed):
    bill = billed["alpha"][0]
    mails = live.mails_to("alpha@customer.example.com", bill["name"])
    assert mails, f"no mail for {bill['name']} was caught"
    return mails


def test_customer_gets_one_mail_with_the_bill(billed, mail):
    assert len(mail) == 1
    [pdf] = live.attachments(mail[0])
    assert pdf.startswith(b"%PDF")
    text = live.pdf_text(pdf)
    assert billed["alpha"][0]["name"] in text
    assert "Hosting" in text
    assert "Alpha Trading Ltd" in text
    assert f"{billed['alpha'][0]['amount_total']:,.2f}" in text
    assert "Beta Trading" not in text


@pytest.fixture(scope="module")
def address(mail, tmp_path_factory):
    """The address in the QR code of the bill that was mailed."""
    codes = live.qr_codes(live.attachments(mail[0])[0], tmp_path_factory.mktemp("qr"))
    assert len(codes) == 1, codes
    return codes[0]


def test_qr_code_opens_exactly_this_bill_without_a_login(billed, address):
    bill = billed["alpha"][0]
    assert address.startswith(f"{live.URL}/my/invoices/{bill['id']}?")
    page = live.Web().get(address)
    assert page.status_code == 200
    assert bill["name"] in page.text
    # without its token, or with a wrong one, the address opens nothing
    for wrong in (address.split("?")[0], re.sub(r"access_token=\w{8}", "access_token=00000000", address)):
        assert bill["name"] not in live.Web().get(wrong).text


def test_customer_sees_his_bill_and_contract(billed, portal, staff):
    bill = billed["alpha"][0]
    page = portal["alpha"].get(f"/my/invoices/{bill['id']}")
    assert page.status_code == 200
    assert bill["name"] in page.text
    assert f"{bill['amount_total']:,.2f}" in page.text
    name = staff["officer"].env["billing.contract"].read([billed["contract"]], ["name"])[0]["name"]
    assert name in portal["alpha"].get("/my/contracts").text
    assert name in portal["alpha"].get(f"/my/contracts/{billed['contract']}").text
    pdf = portal["alpha"].get(f"/my/invoices/{bill['id']}?report_type=pdf&download=true")
    assert pdf.headers["Content-Type"] == "application/pdf"


def test_invariant_16_another_customer_gets_nothing_over_http(billed, portal, staff):
    bill = billed["alpha"][0]
    name = staff["officer"].env["billing.contract"].read([billed["contract"]], ["name"])[0]["name"]
    for path in (
        f"/my/invoices/{bill['id']}",
        f"/my/invoices/{bill['id']}?report_type=pdf",
        f"/my/invoices/{bill['id']}?report_type=html",
        "/my/invoices",
        "/my/contracts",
        f"/my/contracts/{billed['contract']}",
        f"/my/contracts/{billed['contract']}/bills",
    ):
        page = portal["beta"].get(path)
        assert bill["name"].encode() not in page.content, path
        assert name not in page.text, path
        assert not page.content.startswith(b"%PDF"), path
    # and nobody gets anything without a login
    assert live.Web().get("/my/contracts").url.startswith(f"{live.URL}/web/login")


def test_invariant_16_another_customer_gets_nothing_over_rpc(billed):
    env = live.rpc("test-beta").env
    ids = {
        "account.move": billed["alpha"][0]["id"],
        "billing.contract": billed["contract"],
    }
    for model, record in ids.items():
        assert env[model].search([("id", "=", record)]) == []
        with pytest.raises(RPCError):
            env[model].read([record], ["name"])
    with pytest.raises(RPCError):
        env["billing.run"].search([])
    assert env["billing.charge"].search([("contract_id", "=", billed["contract"])]) == []
    with pytest.raises(RPCError):
        env["billing.contract"].write([billed["other"]], {"client_ref": "mine"})  # not even his own
    for method in ("action_activate", "action_pause"):
        with pytest.raises(RPCError):
            getattr(env["billing.contract"].browse(billed["other"]), method)()


def test_invariant_16_auditor_reads_all_and_changes_nothing(billed, staff):
    env = staff["auditor"].env
    assert env["billing.contract"].read([billed["contract"]], ["state"])[0]["state"] == "active"
    assert env["billing.run"].read([billed["run"]], ["state"])[0]["state"] == "sent"
    assert env["billing.charge"].search_count([("contract_id", "=", billed["contract"])]) > 0
    for model, record, values in (
        ("billing.contract", billed["contract"], {"client_ref": "x"}),
        ("billing.run", billed["run"], {"date": TODAY.isoformat()}),
        ("account.move", billed["alpha"][0]["id"], {"ref": "x"}),
    ):
        with pytest.raises(RPCError):
            env[model].write([record], values)
    with pytest.raises(RPCError):
        env["billing.run"].create({"date": TODAY.isoformat()})


def test_json2_does_the_same_job(company, api, staff):
    officer = api["officer"]
    [contract] = officer.call(
        "billing.contract",
        "create",
        vals_list=[
            {
                "partner_id": company.customers["beta"],
                "plan_id": company.plan,
                "date_start": TODAY.isoformat(),
                "line_ids": [[0, 0, {"product_id": company.taxed, "name": "By API", "price_unit": 12.34}]],
            }
        ],
    )
    officer.call("billing.contract", "action_activate", ids=[contract])
    [run] = officer.call(
        "billing.run",
        "create",
        vals_list=[{"date": TODAY.isoformat(), "contract_ids": [[6, 0, [contract]]]}],
    )
    for step in ("propose", "generate", "approve", "post"):
        officer.call("billing.run", f"action_{step}", ids=[run])
    [seen] = officer.call("billing.run", "read", ids=[run], fields=["state", "bill_count", "amount_total"])
    assert (seen["state"], seen["bill_count"]) == ("posted", 1)
    assert seen["amount_total"] == pytest.approx(12.34 + 1.23)


def test_json2_keeps_to_the_roles_and_needs_a_key(company, api, billed):
    refused = api["auditor"].post("billing.contract", "write", ids=[billed["contract"]], vals={"client_ref": "x"})
    assert refused.status_code == 403
    private = api["officer"].post("billing.contract", "_compute_counts", ids=[billed["contract"]])
    assert private.status_code in (403, 404, 422)
    protected = api["officer"].post("billing.contract", "write", ids=[billed["contract"]], vals={"state": "ended"})
    assert protected.status_code != 200
    without = requests.post(f"{live.URL}/json/2/billing.contract/search", json={"domain": []}, timeout=live.TIMEOUT)
    assert without.status_code == 401
