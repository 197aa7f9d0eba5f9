"""Collections and others at work on the same customers, with real transactions at the same time."""

import os
import threading
import uuid
from datetime import timedelta
from unittest.mock import patch

import pytest

import live

CUSTOMERS = 5


@pytest.fixture(scope="module")
def registry():
    from odoo.modules.registry import Registry
    from odoo.tools import config

    config.parse_config(["-c", os.environ["BILLING_CONF"], "-d", live.DATABASE, "--log-level=critical"])
    yield Registry(live.DATABASE)


def work(registry, method):
    """``method(env)`` in a transaction of its own, as Odoo does with every request: anew when it collides."""
    from psycopg2 import OperationalError

    from odoo import SUPERUSER_ID, api

    for _try in range(5):
        try:
            with registry.cursor() as cr:
                return method(api.Environment(cr, SUPERUSER_ID, {}))
        except OperationalError:
            continue
    raise AssertionError("refused five times")


@pytest.fixture
def customers(registry):
    """Ids of customers with a bill of 10 each that is overdue, and a policy with one step."""

    def make(env):
        name = f"COLLISION {uuid.uuid4()}"
        step = (0, 0, {"name": name, "days": 3})
        policy = env["billing.dunning.policy"].create({"name": name, "calendar_id": False, "step_ids": [step]})
        partners = env["res.partner"].create(
            [
                {"name": name, "email": "collision@customer.example", "billing_dunning_policy_id": policy.id}
                for _number in range(CUSTOMERS)
            ]
        )
        from odoo import fields

        day = fields.Date.today() - timedelta(days=10)
        line = (0, 0, {"name": name, "price_unit": 10.0, "tax_ids": []})
        terms = {"move_type": "out_invoice", "invoice_date": day, "invoice_date_due": day}
        env["account.move"].create(
            [
                {**terms, "partner_id": partner, "invoice_payment_term_id": False, "invoice_line_ids": [line]}
                for partner in partners.ids
            ]
        ).action_post()
        return partners.ids

    return work(registry, make)


def test_invariant_14_two_nights_at_once(registry, customers):
    """Both see no case yet: one of them opens it, the other one takes it."""
    barrier, errors = threading.Barrier(2), []

    def night():
        def look(env):
            env["billing.case"].search_count([])  # what is read is from this moment on
            if not met:  # not when it starts again because the two have collided
                met.append(barrier.wait(30))
            env["billing.case"]._retry_chunk(env.company, customers)

        met = []
        try:
            work(registry, look)
        except Exception as error:
            errors.append(error)

    with patch("odoo.addons.customer_billing_collection.models.billing_case_night._logger") as logger:
        threads = [threading.Thread(target=night) for _number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert not errors
    assert not logger.exception.called, "a lost race is no failure of a customer"
    assert logger.info.called, "they did not collide: the test shows nothing"

    def check(env):
        cases = env["billing.case"].search([("partner_id", "in", customers)])
        assert sorted(cases.partner_id.ids) == sorted(customers)
        assert len(cases) == CUSTOMERS
        assert not any(cases.mapped("error"))
        assert cases.notice_ids.mapped("state") == ["queued"] * CUSTOMERS

    work(registry, check)


def test_invariant_14_a_payment_while_the_notice_is_sent(registry, customers):
    """What was read before a payment was booked is not sent after it."""
    work(registry, lambda env: env["billing.case"]._retry_chunk(env.company, customers))

    def pay(env):
        bills = env["account.move"].search([("partner_id", "=", customers[0]), ("move_type", "=", "out_invoice")])
        register = env["account.payment.register"].with_context(active_model="account.move", active_ids=bills.ids)
        register.create({})._create_payments()

    tries = []

    def send(env):
        model = env.registry["billing.dunning.notice"]
        recheck = model._recheck

        def read_and_let_pay(notice):
            found = recheck(notice)
            tries.append(found)
            if len(tries) == 1:
                payment = threading.Thread(target=work, args=(registry, pay))
                payment.start()
                payment.join(60)
            return found

        with patch.object(model, "_recheck", read_and_let_pay):
            model._deliver(env["billing.dunning.notice"].search([("partner_id", "=", customers[0])]))

    work(registry, send)

    def check(env):
        notice = env["billing.dunning.notice"].search([("partner_id", "=", customers[0])])
        assert (notice.state, notice.reason_code, notice.case_id.state) == ("skipped", "paid", "closed")
        assert not notice.mail_message_id
        assert not env["mail.mail"].search([("model", "=", "billing.case"), ("res_id", "=", notice.case_id.id)])

    work(registry, check)
    assert tries[0] != (None, None), "when it was read first, it was to be sent"
    assert len(tries) == 2


def test_invariant_14_two_senders_at_once(registry, customers):
    """What one of them holds the other one passes over: each customer gets one message."""
    work(registry, lambda env: env["billing.case"]._retry_chunk(env.company, customers))
    barrier, errors = threading.Barrier(2), []

    def send():
        def look(env):
            env["billing.case"].search_count([])
            if not met:  # not when it starts again because the two have collided
                met.append(barrier.wait(30))
            env["billing.dunning.notice"]._cron_send()

        met = []
        try:
            work(registry, look)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=send) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    work(registry, lambda env: env["billing.dunning.notice"]._cron_send())  # what both passed over

    def check(env):
        notices = env["billing.dunning.notice"].search([("partner_id", "in", customers)])
        assert notices.mapped("state") == ["sent"] * CUSTOMERS
        mails = env["mail.notification"].search(
            [("mail_message_id.model", "=", "billing.case"), ("mail_message_id.res_id", "in", notices.case_id.ids),
             ("notification_type", "=", "email")]
        )  # fmt: skip
        assert sorted(mails.res_partner_id.ids) == sorted(customers)
        assert len(mails) == CUSTOMERS

    work(registry, check)
