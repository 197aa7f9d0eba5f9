from collections import defaultdict

from dateutil.relativedelta import relativedelta

from odoo import Command, fields, models

from .res_partner import RECEIVABLE_GROUPS

ROWS = 8  # of each section; the rest is behind its link
RUNNING = ("active", "paused")


class ResPartner(models.Model):
    """One screen per customer (“360°”): figures, and the last records of each kind.

    All is read for the user, so that record rules decide what a role sees. A module adds a section with a computed
    many2many here, filled in ``_get_billing_overview``, and a list in the view ``res_partner_view_form_billing``.
    """

    _name = "res.partner"
    _inherit = ["res.partner"]

    billing_currency_id = fields.Many2one(
        "res.currency", compute="_compute_billing_currency_id", string="Currency of the Company"
    )
    billing_days_to_pay = fields.Float(
        string="Days to Pay",
        digits=(16, 1),
        compute="_compute_billing_behaviour",
        groups=RECEIVABLE_GROUPS,
        help="Mean days from the invoice to its last payment, of what was paid in the last twelve months.",
    )
    billing_days_late = fields.Float(
        string="Days Late",
        digits=(16, 1),
        compute="_compute_billing_behaviour",
        groups=RECEIVABLE_GROUPS,
        help="Mean days past the due date, of what was paid in the last twelve months (0 when paid before) and of what "
        "is past due now.",
    )
    billing_paid_count = fields.Integer(
        string="Paid in 12 Months", compute="_compute_billing_behaviour", groups=RECEIVABLE_GROUPS
    )
    billing_revenue_year = fields.Monetary(
        string="Revenue of 12 Months",
        compute="_compute_billing_overview",
        currency_field="billing_currency_id",
        groups=RECEIVABLE_GROUPS,
        help="Billed in the last twelve months, before taxes and less credits.",
    )
    billing_mrr = fields.Char(
        string="Monthly Revenue",
        compute="_compute_billing_overview",
        groups=RECEIVABLE_GROUPS,
        help="Recurring prices per month of the lines that are charged now, by currency.",
    )
    billing_next_date = fields.Date(
        string="Next Bill", compute="_compute_billing_overview", groups=RECEIVABLE_GROUPS
    )
    billing_next_amount = fields.Char(
        string="Amount of the Next Bill",
        compute="_compute_billing_overview",
        groups=RECEIVABLE_GROUPS,
        help="What the contracts due on that day are billed, by the code of the real run, in the basis of the prices.",
    )
    billing_ageing = fields.Html(
        string="Ageing", compute="_compute_billing_overview", sanitize=False, groups=RECEIVABLE_GROUPS
    )
    billing_last_contract_ids = fields.Many2many(
        "billing.contract", string="Last Contracts", compute="_compute_billing_overview", groups=RECEIVABLE_GROUPS
    )
    billing_last_move_ids = fields.Many2many(
        "account.move", string="Last Bills", compute="_compute_billing_overview", groups=RECEIVABLE_GROUPS
    )
    billing_last_payment_ids = fields.Many2many(
        "account.move.line", string="Last Payments", compute="_compute_billing_overview", groups=RECEIVABLE_GROUPS
    )
    billing_last_dispute_ids = fields.Many2many(
        "billing.dispute", string="Last Disputes", compute="_compute_billing_overview", groups=RECEIVABLE_GROUPS
    )
    billing_open_exception_ids = fields.Many2many(
        "billing.exception", string="Open Exceptions", compute="_compute_billing_overview", groups=RECEIVABLE_GROUPS
    )
    billing_last_message_ids = fields.Many2many(
        "mail.message", string="Last Mails", compute="_compute_billing_overview", groups=RECEIVABLE_GROUPS
    )

    def _compute_billing_currency_id(self):
        self.billing_currency_id = self.env.company.currency_id

    def _compute_billing_behaviour(self):
        company = self.env.company
        behaviour = self.env["billing.receivable"]._get_payment_behaviour(
            company, company._get_billing_today(), self.commercial_partner_id.ids
        )
        for partner in self:
            values = behaviour.get(partner.commercial_partner_id.id, {})
            partner.billing_days_to_pay = values.get("days_to_pay") or 0.0
            partner.billing_days_late = values.get("days_late") or 0.0
            partner.billing_paid_count = values.get("paid_count", 0)

    def _compute_billing_overview(self):
        """The screen is about one customer: each costs the same few queries, whatever its history."""
        for partner in self:
            for name, value in partner.commercial_partner_id._get_billing_overview(self.env.company).items():
                partner[name] = value

    def _get_billing_overview(self, company):
        """What the screen shows of this customer in ``company`` and its branches: {field: value}.

        Override to add a section.
        """
        self.ensure_one()
        today = company._get_billing_today()
        return {
            "billing_ageing": self._render_billing_ageing(company, today),
            "billing_revenue_year": self._get_billing_revenue(company, today),
            **self._get_billing_prospects(company),
            **self._get_billing_records(company),
        }

    def _get_billing_domain(self, company, path="commercial_partner_id"):
        """The domain of this customer's records in ``company`` and its branches."""
        return [(path, "=", self.id), ("company_id", "child_of", company.id)]

    def _get_billing_revenue(self, company, today):
        [[revenue]] = self.env["account.move"]._read_group(
            [
                *self._get_billing_domain(company),
                ("move_type", "in", ("out_invoice", "out_refund")),
                ("state", "=", "posted"),
                ("invoice_date", ">", today - relativedelta(months=12)),
                ("invoice_date", "<=", today),
            ],
            [],
            ["amount_untaxed_signed:sum"],
        )
        return revenue

    def _get_billing_prospects(self, company):
        """Monthly revenue, and day and amount of the next bill."""
        contracts = self.env["billing.contract"].search(
            [
                *self._get_billing_domain(company, "partner_id.commercial_partner_id"),
                ("state", "!=", "draft"),
                "|",
                ("state", "in", RUNNING),
                ("next_bill_date", "!=", False),
            ]
        )
        monthly = defaultdict(float)
        for contract in contracts.filtered("mrr"):
            monthly[contract.currency_id] += contract.mrr
        due = contracts.filtered("next_bill_date")
        day = min(due.mapped("next_bill_date"), default=False)
        amounts = defaultdict(float)
        if day:
            for found in self.env["billing.engine"]._compute_due(due.filtered(lambda c: c.next_bill_date == day), day):
                amounts[found.contract.currency_id] += float(sum(item.amount for item in found.items))
        return {
            "billing_mrr": self._format_amounts(monthly),
            "billing_next_date": day,
            "billing_next_amount": self._format_amounts(amounts),
        }

    def _format_amounts(self, amounts):
        """Amounts by currency as one text."""
        return " · ".join(currency.format(amount) for currency, amount in amounts.items())

    def _get_billing_records(self, company):
        """The last records of each kind."""
        contacts = self.sudo().search([("commercial_partner_id", "=", self.id)]).ids  # whose mails these are
        about = self._get_billing_domain(company, "partner_id.commercial_partner_id")
        bills = [
            *self._get_billing_domain(company),
            ("move_type", "in", ("out_invoice", "out_refund")),
            ("state", "!=", "cancel"),
        ]
        mails = [
            ("message_type", "in", ("comment", "email", "email_outgoing")),
            ("model", "!=", False),
            "|",
            ("partner_ids", "in", contacts),
            ("author_id", "in", contacts),
        ]
        return {
            "billing_last_contract_ids": self._search_last("billing.contract", about, "date_start desc, id desc"),
            "billing_last_move_ids": self._search_last("account.move", bills, "invoice_date desc, id desc"),
            "billing_last_payment_ids": self._search_last(
                "account.move.line", self._get_payment_domain() + about[1:], "date desc, id desc"
            ),
            "billing_last_dispute_ids": self._search_last(
                "billing.dispute", self._get_billing_domain(company, "partner_id"), "id desc"
            ),
            "billing_open_exception_ids": self._search_last(
                "billing.exception", [*about, ("state", "=", "open")], "date_due, id desc"
            ),
            "billing_last_message_ids": self._search_last("mail.message", mails, "id desc"),
        }

    def _get_payment_domain(self):
        """The receivable items of payments of this customer; every role reads items, not payments."""
        # sudo: which journals and accounts there are is no secret among those who may read items
        journals = self.env["account.journal"].sudo().search([("type", "in", ("bank", "cash", "credit"))])
        accounts = self.env["account.account"].sudo().search([("account_type", "=", "asset_receivable")])
        return [
            ("partner_id.commercial_partner_id", "=", self.id),
            ("account_id", "in", accounts.ids),
            ("parent_state", "=", "posted"),
            ("journal_id", "in", journals.ids),
        ]

    def _search_last(self, model, domain, order):
        return [Command.set(self.env[model].search(domain, order=order, limit=ROWS).ids)]

    def _render_billing_ageing(self, company, today):
        """A bar for each currency: what is open, by how long it is due; credits beside it."""
        balances = self.env["billing.receivable"]._get_balances(company, today, [self.id])
        labels = company._get_billing_bucket_labels()
        rows = []
        for (_partner, currency_id), values in balances.items():
            currency = self.env["res.currency"].browse(currency_id)
            parts = [max(amount, 0.0) for amount in values["buckets"]]
            total = sum(parts)
            rows.append(
                {
                    "currency": currency,
                    "balance": values["balance"],
                    "overdue": values["overdue"],
                    "unallocated": values["unallocated"],
                    "parts": [
                        {"label": label, "amount": amount, "share": amount / total * 100, "level": level}
                        for level, (label, amount) in enumerate(zip(labels, parts, strict=True))
                        if total and amount
                    ],
                }
            )
        return self.env["ir.qweb"]._render("customer_billing.billing_ageing_bar", {"rows": rows})

    # Drill-down

    def action_open_billing_360(self):
        """Open the screen of this customer."""
        self.ensure_one()
        action = self.env["ir.actions.actions"]._for_xml_id("customer_billing.res_partner_action_billing_360")
        return {**action, "res_id": self.commercial_partner_id.id}

    def action_open_billing_profile(self):
        """Open the contact itself, to read or edit it."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.display_name,
            "res_model": "res.partner",
            "res_id": self.id,
            "views": [(self.env.ref("base.view_partner_form").id, "form")],
            "view_mode": "form",
        }

    def _get_billing_action(self, xmlid, domain, **context):
        """The action ``xmlid`` for the records of this customer."""
        action = self.env["ir.actions.actions"]._for_xml_id(xmlid)
        return {**action, "domain": domain, "context": {"create": False, **context}}

    def action_view_billing_moves(self):
        """Open all bills of this customer."""
        self.ensure_one()
        return self._get_billing_action(
            "customer_billing.account_move_action_bills",
            [
                ("commercial_partner_id", "=", self.commercial_partner_id.id),
                ("move_type", "in", ("out_invoice", "out_refund")),
            ],
        )

    def action_view_billing_payments(self):
        """Open all payments of this customer, as items of its account."""
        self.ensure_one()
        view = self.env.ref("customer_billing.account_move_line_view_list_payments")
        # Who has no accounting right may read the items of payments, but not the entries that their form shows.
        forms = [] if self.env["account.move"]._is_billing_reader() else [(False, "form")]
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Payments"),
            "res_model": "account.move.line",
            "views": [(view.id, "list"), *forms],
            "view_mode": "list,form",
            "domain": self.commercial_partner_id._get_payment_domain(),
            "context": {"create": False},
        }

    def action_view_billing_disputes(self):
        """Open all disputes of this customer."""
        self.ensure_one()
        return self._get_billing_action(
            "customer_billing.billing_dispute_action", [("partner_id", "=", self.commercial_partner_id.id)]
        )

    def action_view_billing_exceptions(self):
        """Open all exceptions about this customer."""
        self.ensure_one()
        return self._get_billing_action(
            "customer_billing.billing_exception_action",
            [("partner_id.commercial_partner_id", "=", self.commercial_partner_id.id)],
        )
