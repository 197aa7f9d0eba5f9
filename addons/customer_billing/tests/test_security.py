import inspect

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import SQL, mute_logger

from .common import BillingCommon

OPERATIONS = ("read", "write", "create", "unlink")
ROLES = ("nobody", "sales", "collector", "auditor", "officer", "manager", "portal")
NONE, READ, FULL = "", "r", "rwcu"

# What each role may do with each model: r(ead), w(rite), c(reate), u(nlink).
ACCESS = {
    #                        nobody sales collector auditor officer manager portal
    "billing.plan":          (READ, READ, READ, READ, READ, FULL, READ),
    "billing.price":         (NONE, READ, READ, READ, READ, FULL, NONE),
    "billing.price.bracket": (NONE, READ, READ, READ, READ, FULL, NONE),
    "billing.price.revision": (NONE, NONE, NONE, READ, FULL, FULL, NONE),
    "billing.price.revision.line": (NONE, NONE, NONE, READ, "rw", "rw", NONE),
    "billing.price.notice":  (NONE, NONE, NONE, READ, "rw", "rw", READ),
    "billing.profile.confirmation": (NONE, READ, READ, READ, "rw", "rw", READ),
    "billing.profile.change": (NONE, NONE, NONE, READ, "rw", "rw", NONE),
    "billing.close.reason":  (READ, READ, READ, READ, READ, FULL, READ),
    "billing.contract":      (NONE, READ, READ, READ, FULL, FULL, READ),
    "billing.contract.line": (NONE, READ, READ, READ, FULL, FULL, READ),
    "billing.contract.pause": (NONE, READ, READ, READ, FULL, FULL, READ),
    "billing.contract.activation": (NONE, NONE, NONE, NONE, FULL, FULL, NONE),
    "billing.contract.change": (NONE, NONE, NONE, NONE, FULL, FULL, NONE),
    "billing.contract.change.line": (NONE, NONE, NONE, NONE, FULL, FULL, NONE),
    "billing.contract.simulation": (NONE, FULL, FULL, FULL, FULL, FULL, NONE),
    "billing.charge":        (NONE, READ, READ, READ, READ, READ, READ),
    "billing.run":           (NONE, NONE, NONE, READ, FULL, FULL, NONE),
    "billing.run.line":      (NONE, NONE, NONE, READ, READ, READ, NONE),
    "billing.dispute":       (NONE, READ, "rwc", READ, "rwc", FULL, READ),
    "billing.request":       (NONE, READ, READ, READ, "rw", "rw", READ),
    "billing.meter":         (READ, READ, READ, READ, READ, FULL, READ),
    "billing.usage":         (NONE, READ, READ, READ, FULL, FULL, READ),
    "billing.check":         (NONE, READ, READ, READ, READ, FULL, NONE),
    "billing.cause":         (NONE, READ, READ, READ, READ, FULL, NONE),
    "billing.exception":     (NONE, READ, READ, READ, "rw", "rw", NONE),
    "billing.health":        (NONE, NONE, NONE, READ, READ, READ, NONE),
    "billing.tier":          (NONE, READ, READ, READ, READ, FULL, NONE),
    "billing.tier.proposal": (NONE, READ, READ, READ, READ, READ, NONE),
    "billing.tier.change":   (NONE, NONE, NONE, NONE, NONE, FULL, NONE),
    "billing.aged.report":   (NONE, FULL, FULL, FULL, FULL, FULL, NONE),
    "billing.aged.line":     (NONE, READ, READ, READ, READ, READ, NONE),
}  # fmt: skip

# Models that hold what the roles see, to notice any change.
WATCHED = (
    "billing.plan", "billing.price", "billing.price.bracket", "billing.close.reason",
    "billing.contract", "billing.contract.line", "billing.contract.pause", "billing.charge",
    "billing.run", "billing.run.line", "billing.dispute", "billing.usage", "billing.meter",
    "billing.request",
    "billing.check", "billing.cause", "billing.exception", "account.move", "account.move.line",
    "billing.price.revision", "billing.price.revision.line", "billing.price.notice", "mail.mail",
    "billing.profile.confirmation", "billing.profile.change",
    "ir.cron.trigger", "billing.tier", "billing.tier.proposal", "res.partner",
)  # fmt: skip

# What public methods are called with; the others take nothing.
ARGUMENTS = {
    "write": ({"active": False},),
    "create": ([{}],),
    "action_pause": ("2026-02-01",),
    "action_resume": ("2026-02-01",),
    "action_close": ("2026-02-01",),
    "action_amend": ({"lines": [{"product_id": 1}]}, "2026-02-01"),
    "action_confirm": ("Ann Lee",),
    "action_refuse": ("Not now",),
    "simulate": ("2026-12-31",),
    "load": (["name"], [["X"]]),
    "action_set_billing_tier": (False, "Because"),
    "action_release_billing_tier": ("Because",),
    "record_batch": ([{"meter": "WATER", "quantity": 1}],),
}

# What customers read of their own record, of the fields that this module adds: their settings, not what we think.
PORTAL_PARTNER_FIELDS = {
    "billing_channel", "billing_consolidation", "billing_contract_count", "billing_contract_ids",
    "billing_currency_id", "billing_layout", "billing_profile_opt_out", "billing_role_billing",
    "billing_role_collection", "billing_role_technical", "profile_confirm_date",
}  # fmt: skip


def read_by_portal(user, module):
    """The fields of contacts that a module adds and a user may read."""
    partner = user.env["res.partner"].with_user(user)
    return {
        name
        for name, field in partner._fields.items()
        if module in (field._modules or ()) and partner._has_field_access(field, "read")
    }


class SecurityCommon(BillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.write({"billing_approval": True, "billing_approval_amount": 150.0})
        cls.users = {
            role: cls.new_staff(role, login=f"sec_{role}")
            for role in ROLES
            if role not in ("nobody", "portal")
        }
        cls.users["nobody"] = cls.new_staff(login="sec_nobody")
        cls.second = cls.new_staff("manager", login="sec_second")
        cls.users["portal"] = cls.new_portal(cls.customer, "sec_portal")
        cls.customer.user_id = cls.users["sales"]
        cls.price = cls.env["billing.price"].create(
            {
                "product_id": cls.product.id,
                "currency_id": cls.company.currency_id.id,
                "pricing_model": "graduated",
                "code": "TIERS",
                "date_from": "2020-01-01",
                "bracket_ids": [Command.create({"up_to": 0, "unit_amount": 1.0})],
            }
        )
        negotiated = {"price_id": False, "price_unit": 100.0}
        cls.contract = cls.new_contract("2026-01-01", [negotiated])
        cls.draft = cls.new_contract("2026-01-01", [negotiated], activate=False)
        cls.other = cls.new_contract("2026-01-01", [negotiated], partner_id=cls.other_customer.id)
        (cls.contract | cls.draft | cls.other).pause_ids = [
            Command.create({"date_from": "2026-06-11", "date_to": "2026-06-20"})
        ]
        cls.other.user_id = cls.users["officer"]
        cls.posted_run = cls.bill("2026-01-01", cls.contract | cls.other)
        cls.move, cls.other_move = cls.contract.move_ids, cls.other.move_ids
        cls.dispute, cls.other_dispute = cls.env["billing.dispute"].create(
            [{"name": "Why", "move_id": move.id} for move in cls.move | cls.other_move]
        )
        cls.request, cls.other_request = cls.env["billing.request"].sudo().create(
            [{"contract_id": own.id, "kind": "pause", "date": "2060-01-01"} for own in cls.contract | cls.other]
        ).sudo(False)
        meter = cls.env["billing.meter"].create({"name": "Water", "code": "WATER"})
        metered = cls.new_contract(
            "2026-01-01", [{"charge_type": "usage", "meter_id": meter.id, "price_unit": 1.0}]
        )
        cls.usage = cls.env["billing.usage"].create(
            {"contract_line_id": metered.line_ids.id, "quantity": 3, "timestamp": "2026-01-05 08:00:00"}
        )
        cls.exception = cls.env["billing.exception"].sudo().create(
            {
                "check_id": cls.env.ref("customer_billing.billing_check_missing_tax").id,
                "company_id": cls.company.id,
                "contract_id": cls.contract.id,
                "partner_id": cls.customer.id,
                "severity": "warning",
                "message": "No tax",
            }
        )
        cls.revision = cls.env["billing.price.revision"].create(
            {"name": "Later prices", "percent": 3.0, "date": "2060-01-01"}
        )
        cls.revision.action_compute()
        cls.revision.with_user(cls.second).action_notify()
        cls.notice = cls.revision.notice_ids.filtered(lambda n: n.partner_id == cls.customer)
        cls.notice.action_letter()
        cls.profile = cls.env["billing.profile.confirmation"]._ask(cls.customer, cls.company)
        cls.profile.sudo()._answer({"vat": "US99"}, "Ann", "portal")
        cls.tier = cls.env["billing.tier"].create({"name": "Gold", "company_id": cls.company.id})
        cls.tier._grade(cls.company, cls.customer.ids)
        cls.tier_proposal = cls.env["billing.tier.proposal"].search([("partner_id", "=", cls.customer.id)])
        cls.proposed_run = cls.new_run("2026-02-01", cls.contract)
        cls.proposed_run.action_propose()
        cls.records = {
            "billing.plan": cls.plan,
            "billing.price": cls.price,
            "billing.price.bracket": cls.price.bracket_ids,
            "billing.price.revision": cls.revision,
            "billing.price.revision.line": cls.notice.line_ids,
            "billing.price.notice": cls.notice,
            "billing.profile.confirmation": cls.profile,
            "billing.profile.change": cls.profile.change_ids,
            "billing.close.reason": cls.env.ref("customer_billing.billing_close_reason_other"),
            "billing.contract": cls.contract,
            "billing.contract.line": cls.contract.line_ids,
            "billing.contract.pause": cls.contract.pause_ids,
            "billing.contract.activation": None,
            "billing.contract.change": None,
            "billing.contract.change.line": None,
            "billing.contract.simulation": None,
            "billing.charge": cls.contract.charge_ids,
            "billing.run": cls.proposed_run,
            "billing.run.line": cls.proposed_run.line_ids,
            "billing.dispute": cls.dispute,
            "billing.request": cls.request,
            "billing.meter": cls.usage.meter_id,
            "billing.usage": cls.usage,
            "billing.check": cls.env.ref("customer_billing.billing_check_missing_tax"),
            "billing.cause": cls.env["billing.cause"].search([], limit=1),
            "billing.exception": cls.exception,
            "billing.tier": cls.tier,
            "billing.tier.proposal": cls.tier_proposal,
            "billing.tier.change": None,
            "billing.health": None,
            "billing.aged.report": None,
            "billing.aged.line": None,
        }
        cls.env.flush_all()

    @classmethod
    def our_models(cls):
        """The models that this module defines, without the abstract ones."""
        found = {}
        for name, model in cls.env.registry.items():
            if model._original_module == "customer_billing" and not model._abstract:
                found[name] = cls.env[name]
        return found


@tagged("post_install", "-at_install")
class TestAccessTable(SecurityCommon):
    def test_invariant_16_the_table_is_complete(self):
        self.assertEqual(set(ACCESS), set(self.our_models()))
        self.assertEqual(set(ACCESS), set(self.records))

    def test_invariant_16_role_by_model_by_operation(self):
        for model, rights in ACCESS.items():
            for role, allowed in zip(ROLES, rights, strict=True):
                user = self.users[role]
                records = self.records[model] or self.new_transient(model, user)
                for operation in OPERATIONS:
                    with self.subTest(model=model, role=role, operation=operation):
                        expected = operation[0] in allowed
                        found = self.env[model].with_user(user).has_access(operation)
                        self.assertEqual(found, expected, "access to the model")
                        if operation != "create":
                            found = records.with_user(user).has_access(operation)
                            self.assertEqual(found, expected, "access to the record")

    def new_transient(self, model, user):
        """A record of one of the wizards."""
        change = self.env["billing.contract.change"].create(
            {
                "contract_ids": [Command.set(self.contract.ids)],
                "change": "close",
                "close_reason_id": self.records["billing.close.reason"].id,
                "date": "2026-02-15",
            }
        )
        if model == "billing.contract.change.line":
            return self.env[model].create({"change_id": change.id, "product_id": self.product.id})
        if model == "billing.health":
            return self.env[model].with_user(user).sudo().create({"name": "Runs"})
        if model in ("billing.aged.report", "billing.aged.line"):
            report = self.env["billing.aged.report"].with_user(user).sudo().create({})
            return report if model == "billing.aged.report" else report.line_ids.create({"report_id": report.id})
        if model == "billing.contract.activation":
            return self.env[model].create({"contract_ids": [Command.set(self.draft.ids)]})
        if model == "billing.tier.change":
            return self.env[model].create({"partner_ids": [Command.set(self.customer.ids)], "reason": "X"})
        if model == "billing.contract.simulation":
            return self.env[model].create({"contract_id": self.contract.id})
        return change

    def test_invariant_16_every_model_has_a_company_rule_or_is_shared(self):
        own = ("billing.health", "billing.aged.report", "billing.aged.line")
        shared = {
            "billing.cause",
            "billing.close.reason",
            *(model for model in ACCESS if self.env[model]._transient and model not in own),
        }
        ruled = set(
            self.env["ir.rule"].search([("groups", "=", False), ("model_id.model", "in", list(ACCESS))])
            .model_id.mapped("model")
        )  # fmt: skip
        self.assertEqual(ruled, set(ACCESS) - shared)

    def test_invariant_16_other_companies_are_invisible(self):
        other = self.setup_other_company()["company"]
        Env = self.env(context={**self.env.context, "allowed_company_ids": (other | self.company).ids})
        plan = Env["billing.plan"].create({"name": "Theirs", "company_id": other.id})
        price = Env["billing.price"].create(
            {"product_id": self.product.id, "code": "T", "unit_amount": 5.0, "company_id": other.id,
             "currency_id": other.currency_id.id,
             "bracket_ids": [Command.create({"up_to": 0, "unit_amount": 1})]}
        )  # fmt: skip
        contract = Env["billing.contract"].create(
            {
                "partner_id": self.customer.id,
                "company_id": other.id,
                "plan_id": plan.id,
                "date_start": "2026-01-01",
                "pause_ids": [Command.create({"date_from": "2026-06-11", "date_to": "2026-06-20"})],
                "line_ids": [Command.create({"product_id": self.product.id, "price_id": False, "price_unit": 10.0})],
            }
        )  # fmt: skip
        contract.action_activate()
        run = Env["billing.run"].create(
            {"company_id": other.id, "date": "2026-01-01", "invoice_date": "2026-01-01"}
        )
        run.action_propose()
        run.action_generate()
        run.action_approve()
        run.action_post()
        self.assertEqual(run.move_ids.company_id, other)
        self.assertEqual(run.move_ids.journal_id.company_id, other)
        dispute = Env["billing.dispute"].create({"name": "Why", "move_id": run.move_ids.id})
        other.billing_approval = False
        revision = Env["billing.price.revision"].create(
            {"name": "Theirs", "company_id": other.id, "percent": 3.0, "date": "2060-01-01"}
        )
        revision.action_compute()
        revision.action_notify()
        tier = Env["billing.tier"].create({"name": "Theirs", "company_id": other.id})
        tier._grade(other, self.customer.ids)
        proposal = Env["billing.tier.proposal"].search([("company_id", "=", other.id)])
        request = Env["billing.request"].sudo().create(
            {"contract_id": contract.id, "kind": "pause", "date": "2060-01-01"}
        )
        theirs = {
            "billing.tier": tier, "billing.tier.proposal": proposal,
            "billing.request": request.sudo(False),
            "billing.price.revision": revision, "billing.price.revision.line": revision.line_ids,
            "billing.price.notice": revision.notice_ids,
            "billing.plan": plan, "billing.price": price, "billing.price.bracket": price.bracket_ids,
            "billing.contract": contract, "billing.contract.line": contract.line_ids,
            "billing.contract.pause": contract.pause_ids, "billing.charge": contract.charge_ids,
            "billing.run": run, "billing.run.line": run.line_ids, "billing.dispute": dispute,
        }  # fmt: skip
        for model, records in theirs.items():
            self.assertTrue(records, model)
            for role in set(ROLES) - {"portal", "nobody"}:
                found = records.with_user(self.users[role]).with_context(
                    allowed_company_ids=self.company.ids
                )
                with self.subTest(model=model, role=role):
                    self.assertFalse(found.has_access("read"))
                    if self.env[model].with_user(self.users[role]).has_access("read"):
                        self.assertFalse(found.search([("id", "in", records.ids)]))
        for role in ("officer", "manager"):
            with self.assertRaises(AccessError):
                contract.with_user(self.users[role]).action_close("2026-02-01")

    def test_sales_sees_own_customers_only(self):
        sales = self.users["sales"]
        for own, others in (
            (self.contract, self.other),
            (self.contract.line_ids, self.other.line_ids),
            (self.contract.pause_ids, self.other.pause_ids),
            (self.contract.charge_ids, self.other.charge_ids),
            (self.dispute, self.other_dispute),
            (self.tier_proposal, self.tier_proposal.sudo().copy({"partner_id": self.other_customer.id})),
            (self.request, self.other_request),
            (self.move, self.other_move),
            (self.move.line_ids, self.other_move.line_ids),
        ):
            with self.subTest(model=own._name):
                self.assertTrue(own and others)
                self.assertEqual((own | others).with_user(sales)._filtered_access("read"), own)
                found = own.with_user(sales).search([("id", "in", (own | others).ids)])
                self.assertEqual(found, own)

    def test_portal_sees_the_documents_of_its_company(self):
        colleague = self.env["res.partner"].create({"name": "Colleague", "parent_id": self.customer.id})
        for user in (self.users["portal"], self.new_portal(colleague, "sec_colleague")):
            for own, others in (
                (self.contract, self.draft | self.other),
                (self.contract.line_ids, (self.draft | self.other).line_ids),
                (self.contract.pause_ids, (self.draft | self.other).pause_ids),
                (self.contract.charge_ids, self.other.charge_ids),
                (self.dispute, self.other_dispute),
                (self.request, self.other_request),
                (self.notice, self.revision.notice_ids - self.notice),
            ):
                with self.subTest(model=own._name, user=user.login):
                    self.assertEqual((own | others).with_user(user)._filtered_access("read"), own)
        later = self.new_contract("2026-03-01", [{"price_id": False, "price_unit": 1.0}])
        self.bill("2026-03-01", later, post=False)
        self.assertFalse(later.charge_ids.with_user(self.users["portal"]).has_access("read"))

    def test_invariant_16_fields_of_the_own_profile_that_customers_read(self):
        self.assertEqual(read_by_portal(self.users["portal"], "customer_billing"), PORTAL_PARTNER_FIELDS)
        partner = self.customer.with_user(self.users["portal"])
        for name in ("comment", "trust", "days_sales_outstanding", "credit", "credit_limit", "total_invoiced",
                     "billing_officer_id", "billing_source", "billing_tier_reason"):  # fmt: skip
            for read in (partner.read, lambda names: partner.search_read([], names)):
                with self.subTest(field=name), self.assertRaises(AccessError):
                    read([name])
            if partner._fields[name].store:
                with self.subTest(field=name), self.assertRaises(AccessError):
                    partner.search([(name, "!=", False)])
        self.assertTrue(partner.read(sorted(PORTAL_PARTNER_FIELDS)))

    def test_portal_reads_no_internal_field(self):
        portal = self.users["portal"]
        internal = {
            "billing.contract": ("mrr", "officer_id", "journal_id", "pricelist_id", "move_ids", "bill_count"),
            "billing.contract.line": ("mrr", "recompute_from"),
            "billing.price.notice": ("revision_id", "line_ids", "acknowledged_ip", "error"),
            "billing.request": ("price_id",),
            "billing.dispute": ("cause_id",),
            "billing.close.reason": ("offer_percent", "offer_periods", "offer_product_id"),
        }
        for model, names in internal.items():
            for name in names:
                with self.subTest(model=model, field=name), self.assertRaises(AccessError):
                    self.records[model].with_user(portal).read([name])
        with self.assertRaises(AccessError):
            self.move.with_user(portal).read(["billing_approved_amount"])


@tagged("post_install", "-at_install")
class TestProtectedFields(SecurityCommon):
    def values(self, model):
        """A value for every protected field of a model, unlike its default."""
        values = {}
        for name in self.env[model]._billing_protected:
            field = self.env[model]._fields[name]
            if field.type == "many2one":
                values[name] = self.env[field.comodel_name].sudo().search([], limit=1).id
            elif field.type in ("one2many", "many2many"):
                values[name] = [Command.clear()]
            elif field.type == "selection":
                values[name] = field.get_values(self.env)[-1]
            elif field.type in ("date", "datetime"):
                values[name] = "2031-01-01"
            else:
                values[name] = {"boolean": True, "json": {"v": 1}, "char": "X"}.get(field.type, 7)
        return values

    def test_protected_fields_are_refused_in_write_create_and_import(self):
        for model in ("billing.contract", "billing.contract.line", "billing.run", "billing.run.line",
                      "billing.charge", "account.move", "billing.price.revision",
                      "billing.price.revision.line", "billing.price.notice", "billing.request"):  # fmt: skip
            values = self.values(model)
            self.assertTrue(values, model)
            record = self.records.get(model, self.move)
            for role in ("officer", "manager"):
                records = record.with_user(self.users[role])
                for name, value in values.items():
                    with self.subTest(model=model, role=role, field=name):
                        with self.assertRaises(UserError):
                            records.write({name: value})
                        if value not in ([Command.clear()], "draft"):
                            with self.assertRaises(AccessError):
                                records.browse().create({name: value})

    def test_import_sets_no_state(self):
        officer = self.users["officer"]
        result = (
            self.env["billing.contract"]
            .with_user(officer)
            .load(
                ["partner_id/.id", "plan_id/.id", "date_start", "state"],
                [[str(self.customer.id), str(self.plan.id), "2026-01-01", "Active"]],
            )
        )
        self.assertFalse(result["ids"])
        self.assertIn("cannot be set directly", result["messages"][0]["message"])

    def test_defaults_set_no_protected_field(self):
        manager = self.users["manager"]
        self.env["ir.default"].with_user(manager).set("billing.contract", "state", "active", user_id=True)
        context = {
            "default_state": "approved",
            "default_approved_by_id": self.second.id,
            "default_prepared_by_id": self.second.id,
            "default_preparer_ids": [Command.set(self.second.ids)],
            "default_create_uid": self.second.id,
            "default_billing_run_id": self.posted_run.id,
            "default_origin": "nightly",
        }
        run = self.env["billing.run"].with_user(manager).with_context(**context).create(
            {"create_uid": self.second.id}
        )  # fmt: skip
        self.assertEqual((run.state, run.origin), ("draft", "manual"))
        self.assertFalse(run.approved_by_id)
        self.assertEqual((run.prepared_by_id, run.preparer_ids, run.create_uid), (manager,) * 3)
        contract = self.env["billing.contract"].with_user(manager).create(
            {"partner_id": self.customer.id, "plan_id": self.plan.id}
        )  # fmt: skip
        self.assertEqual(contract.state, "draft")
        move = self.env["account.move"].with_user(manager).with_context(
            **{**context, "default_state": "draft"}
        ).create({"move_type": "out_invoice", "partner_id": self.customer.id})  # fmt: skip
        self.assertFalse(move.billing_run_id)

    def test_copies_start_anew(self):
        self.env["billing.run"].sudo().browse(self.posted_run.id).origin = "nightly"
        run = self.posted_run.with_user(self.users["officer"]).copy()
        self.assertEqual((run.state, run.origin), ("draft", "manual"))
        self.assertFalse(run.line_ids or run.move_ids or run.approved_by_id or run.amount_total)
        self.assertEqual(run.prepared_by_id, self.users["officer"])
        contract = self.contract.with_user(self.users["officer"]).copy()
        self.assertEqual(contract.state, "draft")
        self.assertFalse(contract.next_bill_date or contract.charge_ids or contract.move_ids or contract.pause_ids)
        self.assertFalse(contract.line_ids.recompute_from or contract.line_ids.plan_id)
        self.assertEqual(contract.line_ids.date_start, contract.date_start)
        self.assertFalse(self.move.copy().billing_run_id)

    def test_charges_are_not_reached_through_other_records(self):
        manager = self.users["manager"]
        charge = self.contract.charge_ids
        line = self.move.invoice_line_ids
        for records, values in (
            (self.contract, {"charge_ids": [Command.update(charge.id, {"amount": 1})]}),
            (self.contract.line_ids, {"charge_ids": [Command.delete(charge.id)]}),
            (line, {"billing_charge_ids": [Command.clear()]}),
            (line, {"billing_charge_ids": [Command.link(self.other.charge_ids.id)]}),
        ):
            with self.subTest(model=records._name), self.assertRaises(UserError):
                records.with_user(manager).write(values)
                self.env.flush_all()
            self.env.invalidate_all()
        self.assertEqual((charge.amount, charge.state, charge.move_line_id), (100.0, "billed", line))


@tagged("post_install", "-at_install")
class TestPublicMethods(SecurityCommon):
    def public_methods(self):
        """(model, method) of every public method that this module defines."""
        for name, model in self.env.registry.items():
            if model._abstract or model._transient and name not in ACCESS:
                continue
            for cls in model.mro():
                if getattr(cls, "_module", None) != "customer_billing" or not hasattr(cls, "_name"):
                    continue
                for method, function in vars(cls).items():
                    if method.startswith("_") or not inspect.isfunction(function):
                        continue
                    if not getattr(function, "_api_private", False):
                        yield name, method

    def checksum(self):
        """A fingerprint of all that the roles could change."""
        self.env.flush_all()
        return {
            model: self.env.execute_query(
                SQL(
                    "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM %s t",
                    SQL.identifier(self.env[model]._table),
                )
            )[0]
            for model in WATCHED
        }

    @mute_logger("odoo.models.unlink")
    def test_invariant_16_methods_change_nothing_for_those_who_may_only_read(self):
        methods = sorted(set(self.public_methods()))
        self.assertIn(("billing.run", "action_approve"), methods)
        self.assertIn(("account.move", "action_billing_deliver"), methods)
        draft_run = self.bill("2026-02-01", self.other, post=False)
        targets = {
            **{model: [records] for model, records in self.records.items()},
            "account.move": [self.move, draft_run.move_ids],
            "account.move.line": [self.move.invoice_line_ids, draft_run.move_ids.invoice_line_ids],
            "billing.contract": [self.contract, self.draft],
            "billing.price.revision": [
                self.revision, self.env["billing.price.revision"].create({"name": "Draft", "percent": 1.0})
            ],
            "billing.run": [self.env["billing.run"].create({}), self.proposed_run, draft_run, self.posted_run],
            "billing.contract.change": [],
            "billing.contract.activation": [],
            "billing.tier": [self.tier],
            "billing.tier.proposal": [self.tier_proposal],
            "billing.tier.change": [],
            "billing.health": [],
            "billing.aged.report": [],
            "billing.aged.line": [],
            "billing.contract.change.line": [],
            "billing.contract.simulation": [],
            "res.partner": [self.customer],
            "res.company": [self.company],
        }  # fmt: skip
        before = self.checksum()
        for model, method in methods:
            for records in targets.get(model, []):
                for role in ("nobody", "sales", "auditor", "portal"):
                    if method in ("write", "create", "unlink") and model not in ACCESS:
                        continue  # core's own access
                    with self.subTest(model=model, method=method, role=role, records=records):
                        self.call(records.with_user(self.users[role]), method)
                        self.assertEqual(self.checksum(), before)

    def call(self, records, method):
        """Call a method in a savepoint that is kept when it does not raise."""
        try:
            with self.env.cr.savepoint():
                getattr(records, method)(*ARGUMENTS.get(method, ()))
        except (AccessError, UserError, ValueError):
            pass
        self.env.invalidate_all()

    def test_wizard_closes_for_those_who_may_write(self):
        wizard = self.env["billing.contract.change"].with_user(self.users["officer"]).create(
            {"contract_ids": [Command.set(self.contract.ids)], "change": "close",
             "close_reason_id": self.records["billing.close.reason"].id, "date": "2026-02-15"}
        )  # fmt: skip
        for role in set(ROLES) - {"officer", "manager"}:
            with self.subTest(role=role), self.assertRaises(AccessError):
                wizard.with_user(self.users[role]).action_confirm()
        wizard.action_confirm()
        self.assertEqual(self.contract.date_end, fields.Date.to_date("2026-02-15"))

    def test_readers_of_bills_neither_write_nor_post(self):
        draft = self.bill("2026-02-01", self.contract, post=False).move_ids
        for role in ("sales", "collector", "auditor"):
            move = draft.with_user(self.users[role])
            self.assertTrue(move.read(["amount_total"]))
            for call in (
                lambda move=move: move.write({"ref": "X"}),
                lambda move=move: move.write({"state": "posted"}),
                lambda move=move: move.action_post(),
                lambda move=move: move.button_cancel(),
                lambda move=move: move.unlink(),
                lambda move=move: move.invoice_line_ids.write({"name": "X"}),
                lambda move=move: move.action_billing_deliver(),
                lambda move=move: move.action_billing_delivered(),
            ):
                with self.subTest(role=role), self.assertRaises(AccessError):
                    call()

    def test_the_limit_is_for_administrators(self):
        for role in ROLES:
            with self.subTest(role=role), self.assertRaises(AccessError):
                self.company.with_user(self.users[role]).billing_approval = False
            with self.subTest(role=role), self.assertRaises(AccessError):
                self.company.with_user(self.users[role]).billing_approval_amount = 1e9
        self.company.billing_approval_amount = 9e9
        self.assertIn("no longer above", self.company.partner_id.message_ids[0].body)


@tagged("post_install", "-at_install")
class TestApproval(SecurityCommon):
    """Ways around the second person."""

    def generated(self, preparer=None):
        large = self.new_contract("2026-01-01", [{"price_id": False, "price_unit": 500.0}])
        run = self.new_run("2026-01-01", large).with_user(preparer or self.users["officer"])
        run.sudo().write({"preparer_ids": [Command.clear()]})
        self.env.cr.execute(
            "UPDATE billing_run SET create_uid = %s WHERE id = %s", [run.env.uid, run.id]
        )
        run.invalidate_recordset()
        run.action_propose()
        run.action_generate()
        return run

    def test_invariant_18_draft_bills_are_not_posted_around_the_run(self):
        run = self.generated()
        bill = run.move_ids
        for user in (self.users["officer"], self.users["manager"], self.second):
            move = bill.with_user(user)
            for call in (
                lambda move=move: move.action_post(),
                lambda move=move: move._post(soft=False),
                lambda move=move: move.write({"state": "posted"}),
                lambda move=move: move.env["validate.account.move"].create(
                    {"move_ids": [Command.set(move.ids)], "force_post": True}
                ).validate_move(),
            ):  # fmt: skip
                with self.subTest(user=user.login), self.assertRaisesRegex(UserError, "second person"):
                    call()
            for values in (
                {"billing_run_id": False},
                {"billing_run_id": self.posted_run.id},
                {"billing_approved_amount": bill.amount_total},
            ):
                with self.subTest(user=user.login, values=values), self.assertRaises(AccessError):
                    move.write(values)
        self.assertEqual(bill.state, "draft")
        run.with_user(self.second).action_approve()
        bill.with_user(self.users["officer"]).action_post()
        self.assertEqual(bill.state, "posted")

    def test_invariant_18_nobody_who_prepared_approves(self):
        officer, manager = self.users["officer"], self.users["manager"]
        run = self.new_run("2026-01-01", self.new_contract("2026-01-01", [{"price_id": False, "price_unit": 500.0}]))
        run.with_user(manager).action_propose()
        run.with_user(officer).action_generate()
        with self.assertRaisesRegex(UserError, "You prepared this run"):
            run.with_user(manager).action_approve()
        run.with_user(self.second).action_approve()

    def test_invariant_18_leaving_a_contract_out_is_preparing(self):
        large = [{"price_id": False, "price_unit": 500.0}]
        contracts = self.new_contract("2026-01-01", large) | self.new_contract("2026-01-01", large)
        run = self.new_run("2026-01-01", contracts).with_user(self.users["officer"])
        run.action_propose()
        run.line_ids[0].with_user(self.second).action_exclude()
        run.action_generate()
        with self.assertRaisesRegex(UserError, "You prepared this run"):
            run.with_user(self.second).action_approve()
        run.with_user(self.users["manager"]).action_approve()

    def test_invariant_7_a_changed_scope_is_proposed_again(self):
        run = self.new_run("2026-01-01", self.new_contract("2026-01-01"))
        run.action_propose()
        run.write({"date": "2026-06-01"})
        self.assertEqual(run.state, "draft")
        self.assertFalse(run.line_ids)
        with self.assertRaisesRegex(UserError, "this step is for"):
            run.action_generate()

    def test_invariant_18_a_bill_that_changed_is_approved_again(self):
        run = self.generated()
        run.with_user(self.second).action_approve()
        bill = run.move_ids.with_user(self.users["officer"])
        bill.write({"invoice_line_ids": [Command.create({"name": "More", "price_unit": 1000.0, "tax_ids": []})]})
        run.action_post()
        self.assertEqual((run.state, bill.state), ("approved", "draft"))
        self.assertIn("second person", run.line_ids.reason)
        self.assertTrue(run.approval_needed)
        manager = self.users["manager"]
        bill.with_user(manager).write(
            {"invoice_line_ids": [Command.create({"name": "Extra", "price_unit": 1.0, "tax_ids": []})]}
        )
        with self.assertRaisesRegex(UserError, "You prepared this run"):
            run.with_user(manager).action_approve()
        run.with_user(self.second).action_approve()
        run.action_post()
        self.assertEqual(run.state, "posted")

    def test_invariant_18_changes_by_hand_bring_no_bill_below_the_limit(self):
        def less(price):
            return {"invoice_line_ids": [Command.create({"name": "Less", "price_unit": price, "tax_ids": []})]}

        for name, change in (
            ("negative line", less(-480.0)),
            ("down to nothing", less(-575.0)),
            ("rounded away", {"invoice_cash_rounding_id": self.env["account.cash.rounding"].create({
                "name": "To thousands", "rounding": 10000.0, "strategy": "add_invoice_line",
                "profit_account_id": self.company_data["default_account_revenue"].id,
                "loss_account_id": self.company_data["default_account_expense"].id,
            }).id}),
        ):  # fmt: skip
            with self.subTest(name):
                run = self.generated()
                bill = run.move_ids.with_user(self.users["officer"])
                bill.sudo().write(change)
                self.assertLess(bill.amount_total_signed, self.company.billing_approval_amount)
                with self.assertRaisesRegex(UserError, "second person"):
                    bill.action_post()
                with self.assertRaises(AccessError):
                    bill.write({"billing_run_amount": 0.0})
                self.assertTrue(run.approval_needed)
                run.with_user(self.second).action_approve()
                self.assertFalse(bill._get_billing_unapproved())
                run.action_post()
                self.assertEqual((run.state, bill.state), ("posted", "posted"))

    def test_bills_keep_customer_currency_and_type(self):
        bill = self.generated().move_ids.with_user(self.users["manager"])
        currency = self.setup_other_currency("EUR")
        for values in (
            {"currency_id": currency.id},
            {"partner_id": self.other_customer.id},
            {"move_type": "out_refund"},
        ):
            with self.subTest(values=values), self.assertRaisesRegex(UserError, "comes from a contract"):
                bill.write(values)
        line = bill.invoice_line_ids
        for values in ({"balance": -1.0}, {"amount_currency": -1.0}, {"credit": 1.0}, {"display_type": "line_note"}):
            with self.subTest(values=values), self.assertRaisesRegex(UserError, "comes from a contract"):
                line.write(values)

    def test_invariant_2_states_written_directly_keep_the_ledger(self):
        bill = self.generated().move_ids.with_user(self.users["manager"])
        charge = bill.invoice_line_ids.sudo().billing_charge_ids
        bill.write({"state": "cancel"})
        self.assertEqual(charge.state, "void")
        with self.assertRaisesRegex(UserError, "cannot come back"):
            bill.write({"state": "draft"})
        with self.assertRaises(UserError):
            bill.write({"state": "posted"})

    def test_cancelling_a_run_needs_the_right_to_write(self):
        for role in ("auditor", "sales", "nobody", "collector", "portal"):
            with self.subTest(role=role), self.assertRaises(AccessError):
                self.proposed_run.with_user(self.users[role]).action_cancel()
        self.assertEqual(self.proposed_run.state, "proposed")

    def test_invariant_17_disputes_are_closed_with_a_resolution(self):
        collector = self.dispute.with_user(self.users["collector"])
        with self.assertRaisesRegex(UserError, "Resolution"):
            collector.write({"state": "accepted"})
        collector.write({"resolution": "Credited.", "state": "accepted"})
        self.assertTrue(collector.date_closed)
        collector.action_reopen()
        self.assertFalse(collector.date_closed)
        draft = self.generated().move_ids
        with self.assertRaisesRegex(UserError, "Only posted bills"):
            self.env["billing.dispute"].create({"name": "X", "move_id": draft.id})
