from odoo import Command
from odoo.tests import tagged

from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestBillLayout(BillingCommon):
    """One bill over contracts of two sites, printed in every layout."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.write({"billing_consolidation": "customer", "lang": "en_US", "is_company": True})
        cls.north, cls.south = cls.env["res.partner"].create(
            [
                {"name": f"{side} Tower", "street": f"{side} Road 1", "city": "Seattle", "type": "other",
                 "parent_id": cls.customer.id, "lang": "en_US"}
                for side in ("North", "South")
            ]
        )  # fmt: skip
        cls.contracts = cls.env["billing.contract"]
        for site, name in ((cls.north, "Lift"), (cls.south, "Door"), (cls.north, "Roof")):
            cls.contracts |= cls.new_contract(
                "2026-01-01", [{"name": name}], partner_id=site.id, invoice_partner_id=cls.customer.id
            )
        cls.move = cls.bill("2026-01-01", cls.contracts).move_ids

    def render(self, move=None):
        reports = self.env["ir.actions.report"]
        html, _kind = reports._render_qweb_html("account.account_invoices", (move or self.move).ids)
        return html.decode()

    def positions(self, text, *words):
        found = [text.find(word) for word in words]
        self.assertNotIn(-1, found, words)
        return found

    def test_detailed_is_grouped_by_contract(self):
        self.assertEqual(len(self.move), 1)
        text = self.render()
        words = [word for contract in self.contracts for word in (f"Contract {contract.name}", contract.line_ids.name)]
        found = self.positions(text, *words)
        self.assertEqual(found, sorted(found))
        self.assertIn("Why this amount", text)

    def test_by_site(self):
        self.customer.billing_layout = "site"
        text = self.render()
        found = self.positions(text, "North Tower, North Road 1, Seattle", "Lift", "Roof", "South Tower", "Door")
        self.assertEqual(found, sorted(found))
        groups = self.move._get_billing_groups()
        self.assertEqual([group["amount"] for group in groups], [200.0, 100.0])
        self.assertEqual(sum(group["amount"] for group in groups), self.move.amount_untaxed)

    def test_summary(self):
        self.company.billing_layout = "summary"
        text = self.render()
        for contract in self.contracts:
            self.assertIn(f"Contract {contract.name}", text)
            self.assertNotIn(contract.line_ids.name, text)
        self.assertNotIn("Why this amount", text)
        self.assertIn("billing_summary", text)
        self.customer.billing_layout = "detailed"
        self.assertIn("Lift", self.render())

    def test_a_bill_of_one_contract_has_no_headings(self):
        move = self.bill("2026-01-01", self.new_contract("2026-01-01", partner_id=self.other_customer.id)).move_ids
        for layout in ("detailed", "site"):
            self.company.billing_layout = layout
            self.assertFalse(move._get_billing_groups())
            self.assertNotIn("billing_heading", self.render(move))
        self.company.billing_layout = "summary"
        self.assertEqual(len(move._get_billing_groups()), 1)

    def test_what_a_person_added(self):
        draft = self.bill("2026-02-01", self.contracts, post=False).move_ids
        draft.invoice_line_ids = [Command.create({"name": "Gift card", "price_unit": 5.0, "tax_ids": []})]
        self.company.billing_layout = "site"
        groups = draft._get_billing_groups()
        self.assertEqual([bool(group["name"]) for group in groups], [True, True, False])
        self.assertIn("Other items", self.render(draft))
        draft.invoice_line_ids = [Command.create({"name": "My section", "display_type": "line_section"})]
        self.assertFalse(draft._get_billing_groups())
        self.assertEqual(draft._get_billing_layout(), "detailed")
        self.assertIn("My section", self.render(draft))

    def test_other_invoices_are_printed_as_ever(self):
        self.company.billing_layout = "summary"
        move = self.init_invoice("out_invoice", partner=self.customer, amounts=[10.0], taxes=[], post=True)
        text = self.render(move)
        self.assertNotIn("billing_summary", text)
        self.assertIn(move.invoice_line_ids.name, text)
