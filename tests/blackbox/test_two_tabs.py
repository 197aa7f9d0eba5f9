"""The same bills paid in two tabs of one browser at once, while a member of staff registers a payment by hand.

Whoever comes first: no bill is settled twice, all money that came in is in the ledger, what no bill needs is a credit.
"""

import threading
import time
import uuid

import odoorpc.error
import pytest
import requests
from lxml import html

import live

AMOUNTS = (120.0, 60.0)
TOTAL = sum(AMOUNTS)


@pytest.fixture(scope="module")
def admin(company):
    """The administrator, with a provider that accepts what is asked of it."""
    env = company.admin.env
    [provider] = env["payment.provider"].search([("code", "=", "demo")], limit=1)
    bank = env["account.journal"].search([("type", "=", "bank")], limit=1)[0]
    env["payment.provider"].write([provider], {"state": "test", "is_published": True, "journal_id": bank})
    env["payment.method"].write(
        env["payment.provider"].with_context(active_test=False).read([provider], ["payment_method_ids"])[0][
            "payment_method_ids"
        ],
        {"active": True},
    )  # fmt: skip
    return env


class Customer:
    """A customer with two open bills, a saved method, and a browser in which he is logged in."""

    def __init__(self, admin):
        self.env, login = admin, f"tabs-{uuid.uuid4()}"
        self.partner = admin["res.partner"].create({"name": login, "email": f"{login}@customer.example.com"})
        group = admin["ir.model.data"].search_read(
            [("module", "=", "base"), ("name", "=", "group_portal")], ["res_id"]
        )[0]["res_id"]
        admin["res.users"].with_context(no_reset_password=True).create(
            {"name": login, "login": login, "password": live.password(login), "partner_id": self.partner,
             "group_ids": [(6, 0, [group])]}
        )  # fmt: skip
        self.bills = admin["account.move"].create(
            [
                {"move_type": "out_invoice", "partner_id": self.partner, "invoice_date": "2026-01-01",
                 "invoice_line_ids": [(0, 0, {"name": "Service", "price_unit": amount, "tax_ids": [(5,)]})]}
                for amount in AMOUNTS
            ]
        )  # fmt: skip
        admin["account.move"].action_post(self.bills)
        [self.provider] = admin["payment.provider"].search([("code", "=", "demo")], limit=1)
        self.method = admin["payment.method"].search([("code", "=", "demo")])[0]
        self.token = admin["payment.token"].create(
            {"provider_id": self.provider, "payment_method_id": self.method, "payment_details": "4242",
             "partner_id": self.partner, "provider_ref": login, "demo_simulated_state": "done"}
        )  # fmt: skip
        self.browser = live.Web(login)

    def open_tab(self):
        """The page on which the bills are paid: what its form sends, by the cookie of the one browser."""
        tab = live.Web()
        tab.session.cookies.update(self.browser.session.cookies)
        page = html.fromstring(tab.get(f"/my/billing/pay/{'-'.join(map(str, sorted(self.bills)))}").content)
        [form] = page.xpath("//form[@id='o_payment_form']")
        tab.route = form.get("data-transaction-route")
        tab.values = {
            "amount": float(form.get("data-amount")), "access_token": form.get("data-access-token"),
            "landing_route": form.get("data-landing-route"), "payment_method_id": self.method, "token_id": None,
            "provider_id": self.provider, "flow": "direct", "tokenization_requested": False,
        }  # fmt: skip
        assert tab.values["amount"] == TOTAL
        return tab

    def pay_by_saved_method(self, tab):
        return tab.json(tab.route, **tab.values | {"flow": "token", "token_id": self.token})["reference"]

    def pay_at_the_provider(self, tab):
        """The provider's window: the customer pays, and comes back."""
        reference = tab.json(tab.route, **tab.values)["reference"]
        answer = requests.post(
            f"{live.URL}/payment/demo/simulate_payment",
            json={"params": {"reference": reference, "simulated_state": "done"}},
            timeout=live.TIMEOUT,
        )
        assert answer.ok and "error" not in answer.json(), answer.text
        return reference

    def come_back(self, *tabs):
        """The browser asks until the payment is booked; what it leaves, the job books."""
        at_once(*(lambda tab=tab: self.ask(tab) for tab in tabs))
        cron = self.env["ir.model.data"].search_read(
            [("module", "=", "payment"), ("name", "=", "cron_post_process_payment_tx")], ["res_id"]
        )[0]["res_id"]
        for _try in range(20):
            if not self.transactions([("state", "=", "done"), ("is_post_processed", "=", False)]):
                return
            self.env["ir.cron"].method_direct_trigger([cron])
            time.sleep(0.2)
        raise AssertionError("a payment is not booked")

    @staticmethod
    def ask(tab):
        for _try in range(10):
            try:
                return tab.json("/payment/status/poll")
            except RuntimeError as error:
                if "retry" not in str(error):  # as the page does
                    raise
        raise AssertionError("asked ten times")

    def transactions(self, domain, fields=("reference", "state", "landing_route")):
        return self.env["payment.transaction"].search_read([("invoice_ids", "in", self.bills), *domain], fields)

    def check(self, money):
        """Each bill is settled by exactly its total; of the MONEY the rest is a credit."""
        lines = self.env["account.move.line"].search_read(
            [("partner_id", "=", self.partner), ("account_type", "=", "asset_receivable"),
             ("parent_state", "=", "posted")],
            ["move_id", "balance", "amount_residual", "matched_credit_ids"],
        )  # fmt: skip
        owed = [line for line in lines if line["move_id"][0] in self.bills]
        assert [line["amount_residual"] for line in owed] == [0, 0], lines
        for line in owed:
            settled = self.env["account.partial.reconcile"].read(line["matched_credit_ids"], ["amount"])
            assert sum(match["amount"] for match in settled) == line["balance"], (line, settled)
        paid = [line for line in lines if line["move_id"][0] not in self.bills]
        assert -sum(line["balance"] for line in paid) == money, paid
        assert -sum(line["amount_residual"] for line in paid) == money - TOTAL, paid


REFUSED = (RuntimeError, odoorpc.error.RPCError)


def at_once(*works):
    """The works' results in their order, all begun at the same moment. What the server has refused is a result too."""
    barrier, results = threading.Barrier(len(works)), [None] * len(works)

    def run(number, work):
        barrier.wait()
        try:
            results[number] = work()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(live.TIMEOUT)
        assert not thread.is_alive(), "waits for ever"
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, REFUSED):
            raise result
    return results


def register(officer, bills):
    """As the button on the bills does it."""
    wizard = officer.env["account.payment.register"].with_context(active_model="account.move", active_ids=bills)
    wizard.action_create_payments([wizard.create({"group_payment": True})])
    return TOTAL


def failures(results):
    return [str(result) for result in results if isinstance(result, Exception)]


@pytest.mark.parametrize("staff_pays", [False, True], ids=["alone", "staff registers a payment"])
def test_a_saved_method_is_charged_once(admin, staff, staff_pays):
    customer = Customer(admin)
    tabs = [customer.open_tab(), customer.open_tab()]
    works = [lambda tab=tab: customer.pay_by_saved_method(tab) for tab in tabs]
    if staff_pays:
        works.append(lambda: register(staff["officer"], customer.bills))
    *clicks, registered = at_once(*works) if staff_pays else [*at_once(*works), None]
    charged = customer.transactions([("state", "=", "done")])
    refused = failures(clicks)
    assert len(charged) + len(refused) == 2 and refused, (charged, clicks)
    for message in refused:
        assert "cannot be paid now" in message, message
    by_staff = TOTAL if staff_pays and not failures([registered]) else 0
    assert len(charged) == 1 or by_staff, (clicks, registered)
    customer.come_back(*tabs)
    customer.check(TOTAL * len(charged) + by_staff)


@pytest.mark.parametrize("staff_pays", [False, True], ids=["alone", "staff registers a payment"])
def test_what_was_paid_twice_is_a_credit_and_the_customer_is_told(admin, staff, staff_pays):
    """Two windows of the provider, both paid: nobody can refuse the second, the money is there."""
    customer = Customer(admin)
    tabs = [customer.open_tab(), customer.open_tab()]
    references = at_once(*(lambda tab=tab: customer.pay_at_the_provider(tab) for tab in tabs))
    works = [lambda: customer.come_back(*tabs)]
    if staff_pays:
        works.append(lambda: register(staff["officer"], customer.bills))
    booked = at_once(*works)
    assert booked[0] is None, booked
    paid = customer.transactions([("state", "=", "done")])
    assert paid and len(paid) + len(failures(references)) == 2, references
    for message in failures(references):
        assert "cannot be paid now" in message, message
    by_staff = TOTAL if staff_pays and not failures(booked[1:]) else 0
    customer.check(TOTAL * len(paid) + by_staff)
    receipts = [customer.browser.get(tx["landing_route"]).text for tx in paid]
    told = ["more than what was still open" in receipt for receipt in receipts]
    assert all(("Credit, not allocated yet" in receipt) == one for receipt, one in zip(receipts, told, strict=True))
    assert sum(told) >= len(paid) - 1, "only who has paid the bills is told nothing"
    page = customer.browser.get("/my/billing/pay").text
    assert "o_billing_selection" not in page, "nothing is asked for any more"


def test_one_tab_is_late(admin):
    """The second tab is sent after the first one is booked."""
    customer = Customer(admin)
    first, second = customer.open_tab(), customer.open_tab()
    customer.pay_by_saved_method(first)
    customer.come_back(first)
    for pay in (customer.pay_by_saved_method, customer.pay_at_the_provider):
        with pytest.raises(RuntimeError, match="cannot be paid now"):
            pay(second)
    customer.check(TOTAL)
