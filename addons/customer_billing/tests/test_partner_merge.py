from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import BillingCommon


@tagged("post_install", "-at_install")
class TestPartnerMerge(BillingCommon):
    """Odoo's own merge of contacts: contracts and ledger follow, or it is refused."""

    def merge(self, source, destination, user=None):
        wizard = self.env["base.partner.merge.automatic.wizard"]
        wizard = wizard.with_user(user) if user else wizard.sudo()
        wizard.create(
            {
                "partner_ids": [Command.set((source | destination).ids)],
                "dst_partner_id": destination.id,
            }
        ).action_merge()
        self.env.invalidate_all()

    def ledger(self, contracts):
        charges = contracts.charge_ids.filtered(lambda charge: charge.state != "void")
        return round(sum(charges.mapped("amount")), 2)

    def receivable(self, partner):
        lines = self.env["account.move.line"].search(
            [("partner_id", "=", partner.id), ("account_type", "=", "asset_receivable"),
             ("parent_state", "=", "posted")]
        )  # fmt: skip
        return round(sum(lines.mapped("balance")), 2)

    def test_invariant_1_everything_follows_and_nothing_is_billed_twice(self):
        meter = self.env["billing.meter"].create({"name": "Electricity", "code": "KWH"})
        usage_line = {"charge_type": "usage", "meter_id": meter.id, "price_unit": 0.1}
        contract = self.new_contract(
            "2026-01-01", [{}, usage_line], partner_id=self.other_customer.id, client_ref="PO 1"
        )
        kept = self.new_contract("2026-01-01", client_ref="PO 1")
        usage = self.env["billing.usage"].create(
            {"contract_line_id": contract.line_ids[1].id, "timestamp": "2026-01-05 08:00:00", "quantity": 50}
        )
        old = self.bill("2026-01-01", contract | kept)
        move = contract.move_ids
        dispute = self.env["billing.dispute"].create({"name": "Why", "move_id": move.id})
        self.env.ref("customer_billing.billing_check_missing_email").severity = "warning"
        self.other_customer.email = False
        self.bill("2026-02-01", contract, post=False)
        draft = contract.move_ids - move
        exception = draft.billing_exception_ids
        move._queue_delivery()
        total = self.receivable(self.customer) + self.receivable(self.other_customer)
        user = self.new_portal(self.other_customer, "merged_portal")

        self.merge(self.other_customer, self.customer)

        self.assertFalse(self.other_customer.exists())
        for records in (
            contract, contract.line_ids, contract.charge_ids, usage, dispute, exception, move, draft,
            old.line_ids, user,
        ):  # fmt: skip
            self.assertEqual(records.partner_id, self.customer, records)
        self.assertTrue(exception)
        self.assertEqual(contract.invoice_partner_id, self.customer)
        self.assertEqual(move.commercial_partner_id, self.customer)
        self.assertEqual(self.receivable(self.customer), total)
        self.assertEqual(move.billing_delivery_state, "queued")
        self.assertEqual(move._get_delivery_emails(), ["one@customer.example"])
        self.assertEqual(contract.with_user(user).name, contract.name)
        # A run of what was billed before books nothing; the next one bills each once.
        before = self.ledger(contract | kept)
        self.assertFalse(self.bill("2026-02-01", contract).move_ids)
        self.assertEqual(self.ledger(contract | kept), before)
        contract._sweep()
        self.assertFalse(contract.env["billing.exception"].search([("check_id.code", "=", "drift")]))
        draft.billing_run_id.action_check()
        draft.action_post()
        run = self.bill("2026-03-01", contract | kept)
        self.assertEqual(set(run.line_ids.mapped("outcome")), {"billed"})
        self.assertEqual(self.ledger(contract), 305.0)
        self.assertEqual(self.ledger(kept), 300.0)

    def test_consolidation_is_that_of_the_destination(self):
        self.customer.with_company(self.company).billing_consolidation = "customer"
        self.other_customer.with_company(self.company).billing_consolidation = "contract"
        contracts = self.new_contract("2026-01-01") | self.new_contract(
            "2026-01-01", partner_id=self.other_customer.id
        )
        self.merge(self.other_customer, self.customer)
        self.assertEqual(self.customer.with_company(self.company).billing_consolidation, "customer")
        self.assertEqual(len(self.bill("2026-01-01", contracts).move_ids), 1)

    def test_company_dependent_values_fill_gaps_only(self):
        officer = self.new_staff("officer")
        other = self.setup_other_company()["company"]
        self.other_customer.with_company(self.company).billing_officer_id = officer
        self.other_customer.with_company(other).billing_consolidation = "customer"
        self.merge(self.other_customer, self.customer)
        self.assertEqual(self.customer.with_company(self.company).billing_officer_id, officer)
        self.assertEqual(self.customer.with_company(other).billing_consolidation, "customer")

    def test_contacts_of_one_company_are_merged(self):
        one, two = self.env["res.partner"].create(
            [{"name": "Site", "parent_id": self.customer.id, "type": "invoice", "email": "a@x.example"}] * 2
        )
        contract = self.new_contract("2026-01-01", partner_id=one.id, invoice_partner_id=one.id)
        move = self.bill("2026-01-01", contract).move_ids
        self.merge(one, two)
        self.assertEqual(contract.invoice_partner_id, two)
        self.assertEqual(move.line_ids.partner_id, self.customer)
        self.assertEqual(self.bill("2026-02-01", contract).move_ids.commercial_partner_id, self.customer)

    def test_contacts_below_a_merged_company_follow(self):
        site = self.env["res.partner"].create({"name": "Site", "parent_id": self.other_customer.id})
        contract = self.new_contract("2026-01-01", partner_id=site.id)
        self.bill("2026-01-01", contract)
        self.merge(self.other_customer, self.customer)
        self.assertEqual(site.commercial_partner_id, self.customer)
        self.assertEqual(self.bill("2026-02-01", contract).move_ids.commercial_partner_id, self.customer)

    def test_another_debtor_is_refused_with_the_reason(self):
        here, there = self.env["res.partner"].create(
            [
                {"name": "Ann", "parent_id": self.customer.id},
                {"name": "Ann B.", "parent_id": self.other_customer.id},
            ]
        )
        contract = self.new_contract("2026-01-01", partner_id=here.id)
        self.bill("2026-01-01", contract)
        alone = self.env["res.partner"].create({"name": "Alone"})
        for source, destination in (
            (here, there),  # to a contact of another company
            (there, here),  # nothing of "there" is billed
            (here, alone),  # takes over the company of "here"
            (self.customer, there),  # a company becomes a contact
        ):
            refused = (source, destination) in ((here, there), (self.customer, there))
            with self.subTest(source=source.name, destination=destination.name):
                if refused:
                    with self.assertRaisesRegex(UserError, f"{contract.name} is billed to Customer One"):
                        self.merge(source, destination)
                    self.env.invalidate_all()
                    self.assertTrue(source.exists())
                    self.assertEqual(contract.partner_id, here)
                else:
                    with self.env.cr.savepoint() as savepoint:
                        self.merge(source, destination)
                        self.assertEqual(contract.partner_id, destination)
                        self.assertEqual(contract.partner_id.commercial_partner_id, self.customer)
                        savepoint.rollback()
                    self.env.invalidate_all()

    def test_contact_of_another_company_of_ours_is_refused(self):
        other = self.setup_other_company()["company"]
        self.other_customer.company_id = other
        contract = self.new_contract("2026-01-01")
        with self.assertRaisesRegex(UserError, f"{contract.name} is a contract of"):
            self.merge(self.other_customer, self.customer)

    def test_refused_also_for_those_who_see_no_contract(self):
        here = self.env["res.partner"].create({"name": "Ann", "parent_id": self.customer.id})
        there = self.env["res.partner"].create({"name": "Ann", "parent_id": self.other_customer.id})
        self.new_contract("2026-01-01", partner_id=here.id)
        user = self.new_staff(login="keeper")
        user.group_ids += self.env.ref("base.group_partner_manager")
        with self.assertRaisesRegex(UserError, "is billed to"):
            self.merge(here, there, user=user)
