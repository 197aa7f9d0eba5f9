import inspect

from odoo import http
from odoo.http import Request
from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from .test_portal import BillingPortalCommon

# All routes of the module: what they are asked for here, as paths with the names of ``ids``.
ROUTES = {
    "/billing/aged/<int:report_id>": "/billing/aged/{report}",
    "/my/billing/profile": "/my/billing/profile",
    "/my/billing/profile/<int:confirmation_id>": "/my/billing/profile/{profile}",
    "/my/billing/profile/<int:confirmation_id>/confirm": "/my/billing/profile/{profile}/confirm",
    "/my/billing/profile/<int:confirmation_id>/stop": "/my/billing/profile/{profile}/stop",
    "/my/contracts": "/my/contracts",
    "/my/contracts/<int:contract_id>": "/my/contracts/{contract}",
    "/my/contracts/<int:contract_id>/bills": "/my/contracts/{contract}/bills",
    "/my/contracts/<int:contract_id>/bills/page/<int:page>": "/my/contracts/{contract}/bills/page/1",
    "/my/contracts/<int:contract_id>/change/<any(quantity,switch,pause,resume,close,stay):kind>": (
        "/my/contracts/{contract}/change/pause"
    ),
    "/my/contracts/<int:contract_id>/usage": "/my/contracts/{contract}/usage",
    "/my/contracts/page/<int:page>": "/my/contracts/page/1",
    "/my/disputes": "/my/disputes",
    "/my/disputes/<int:dispute_id>": "/my/disputes/{dispute}",
    "/my/disputes/<int:dispute_id>/files/<int:file_id>": "/my/disputes/{dispute}/files/{file}",
    "/my/disputes/page/<int:page>": "/my/disputes/page/1",
    "/my/invoices/<int:invoice_id>/dispute": "/my/invoices/{move}/dispute",
    "/my/invoices/xlsx": "/my/invoices/xlsx",
    "/my/payments": "/my/payments",
    "/my/payments/page/<int:page>": "/my/payments/page/1",
    "/my/price-changes/<int:notice_id>": "/my/price-changes/{notice}",
    "/my/price-changes/<int:notice_id>/acknowledge": "/my/price-changes/{notice}/acknowledge",
    "/my/price-changes/<int:notice_id>/object": "/my/price-changes/{notice}/object",
    "/my/prices": "/my/prices",
    "/my/requests": "/my/requests",
    "/my/requests/<int:request_id>": "/my/requests/{request}",
    "/my/requests/<int:request_id>/withdraw": "/my/requests/{request}/withdraw",
    "/my/requests/page/<int:page>": "/my/requests/page/1",
    "/my/spending": "/my/spending",
    "/my/spending/xlsx": "/my/spending/xlsx",
    "/my/usage": "/my/usage",
    "/my/usage/page/<int:page>": "/my/usage/page/1",
}
OWN = {"/my/billing/profile"}  # forms about whoever fills them in
FORM = {
    "who": "Mallory", "name": "Mallory", "text": "No", "description": "No", "reason": "price", "date": "2060-01-01",
    "confirm": "1", "shown": "x", "street": "Elsewhere 1", "vat": "X1", "access_token": "guessed",
}  # fmt: skip


def routes_of(module):
    """The addresses of all controllers of a module."""
    found, waiting = set(), [http.Controller]
    while waiting:
        controller = waiting.pop()
        waiting += controller.__subclasses__()
        if controller.__module__.startswith(f"odoo.addons.{module}."):
            for _name, method in inspect.getmembers(controller, inspect.isfunction):
                if method.__module__ == controller.__module__:
                    found.update(getattr(method, "original_routing", {}).get("routes") or ())
    return found


@tagged("post_install", "-at_install")
class TestRoutes(BillingPortalCommon, HttpCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.street = "Secret Lane 7"
        cls.new_staff(login="route_nobody")  # a user of Odoo without a role in billing
        cls.dispute = cls.disputes[0]
        cls.dispute.attachment_ids = cls.env["ir.attachment"].create({"name": "a.txt", "raw": b"secret words"})
        revision = cls.env["billing.price.revision"].create({"name": "More", "percent": 3.0, "date": "2060-01-01"})
        revision.action_compute()
        cls.company.billing_approval = False
        revision.action_notify()
        cls.notice = revision.notice_ids.filtered(lambda notice: notice.partner_id == cls.customer)
        cls.notice.action_letter()
        cls.profile = cls.env["billing.profile.confirmation"]._ask(cls.customer, cls.company)
        cls.request = cls.env["billing.request"].sudo().create(
            {"contract_id": cls.contract.id, "kind": "pause", "date": "2060-01-01"}
        )
        cls.report = cls.env["billing.aged.report"].create({})
        cls.ids = {
            name: getattr(cls, name).id
            for name in ("contract", "move", "dispute", "notice", "profile", "request", "report")
        } | {"file": cls.dispute.attachment_ids.id}
        cls.secrets = (cls.contract.name, cls.move.name, cls.customer.street, "secret words", "Seat of the first")

    def test_invariant_16_the_table_is_complete(self):
        self.assertEqual(set(ROUTES), routes_of("customer_billing"))

    def test_the_customer_reads_what_strangers_must_not(self):
        self.authenticate("portal_one", "portal_one")
        paths = (
            "contracts/{contract}", "invoices/{move}", "billing/profile/{profile}", "disputes/{dispute}/files/{file}",
        )  # fmt: skip
        text = "".join(self.url_open(f"/my/{path.format(**self.ids)}").text for path in paths)
        for secret in self.secrets:
            self.assertIn(secret, text)

    def state(self):
        self.env.flush_all()
        self.env.invalidate_all()
        records = (self.contract, self.move, self.dispute, self.notice, self.profile, self.request, self.customer)
        return [
            *(record.write_date for record in records),
            *(
                self.env[model].search_count([])
                for model in ("billing.request", "billing.dispute", "billing.profile.change", "ir.attachment",
                              "billing.contract.pause", "mail.message")
            ),
        ]  # fmt: skip

    @mute_logger("odoo.http", "odoo.addons.base.models.ir_rule")
    def test_invariant_16_strangers_learn_and_change_nothing(self):
        for login in (None, "portal_two", "route_nobody"):
            self.authenticate(login, login)
            token = Request.csrf_token(self)
            before = self.state()
            for route, pattern in ROUTES.items():
                url = pattern.format(**self.ids)
                for data in (None, {**FORM, "csrf_token": token})[: 1 if route in OWN else 2]:
                    with self.subTest(login=login, route=route, post=bool(data)):
                        response = self.url_open(url, data=data)
                        self.assertLess(response.status_code, 500)
                        for secret in self.secrets:
                            self.assertNotIn(secret, response.text)
            self.assertEqual(self.state(), before, login)

    @mute_logger("odoo.http")
    def test_invariant_16_forms_without_their_token_change_nothing(self):
        self.authenticate("portal_one", "portal_one")
        before = self.state()
        for route, pattern in ROUTES.items():
            with self.subTest(route=route):
                self.url_open(pattern.format(**self.ids), data={**FORM, "access_token": ""})
        self.assertEqual(self.state(), before)
