from odoo import Command, api, fields, models
from odoo.tools import SQL, format_date

MAX_PREVIEWED = 200  # contracts whose next bill is computed for one page


class ResPartner(models.Model):
    """What a customer sees on the first page of the portal."""

    _name = "res.partner"
    _inherit = "res.partner"

    def _get_billing_contracts_domain(self):
        """The contracts of this customer that the portal shows; record rules apply beside."""
        partner = self.commercial_partner_id
        return fields.Domain("state", "!=", "draft") & (
            fields.Domain("partner_id", "child_of", partner.id)
            | fields.Domain("invoice_partner_id", "child_of", partner.id)
        )

    def _is_billing_customer(self):
        """Whether there is a contract of this customer, or one that it pays for."""
        contracts_sudo = self.env["billing.contract"].sudo()  # whoever edits an address
        return bool(contracts_sudo.search_count(self._get_billing_contracts_domain(), limit=1))

    def _open_billing_companies(self, company=None):
        """Let the portal logins of these customers see what several companies of ours bill them.

        Odoo gives a login one company, that of who granted the access.

        :param company: default all those with contracts of these customers
        """
        contracts_sudo = self.env["billing.contract"].sudo()  # of all companies, whoever acts
        if company is None:
            groups = contracts_sudo._read_group(self._get_billing_contracts_domain(), ["company_id"])
            companies = contracts_sudo.env["res.company"].union(*(found for [found] in groups))
        else:
            companies = company.sudo()
        for found in companies:
            self.env["res.users"].sudo().search(
                [
                    ("share", "=", True),
                    ("partner_id", "child_of", self.commercial_partner_id.ids),
                    ("company_ids", "not in", found.ids),
                ]
            ).company_ids = [Command.link(found.id)]

    @api.model
    def _open_all_billing_companies(self):
        """The same for all portal logins, with one statement: those that came with no grant, and contracts that did not
        become active here, as after an import or when contacts changed."""
        self.env["billing.contract"].flush_model(["company_id", "partner_id", "invoice_partner_id", "state"])
        self.env["res.partner"].flush_model(["parent_id", "commercial_partner_id"])
        self.env["res.users"].flush_model(["partner_id", "company_ids", "share", "active"])
        rows = self.env.execute_query(
            SQL(
                """WITH RECURSIVE customer(company_id, partner_id) AS (
                       SELECT company_id, unnest(ARRAY[partner_id, invoice_partner_id])
                         FROM billing_contract WHERE state <> 'draft'
                       UNION
                       SELECT customer.company_id, partner.parent_id
                         FROM customer JOIN res_partner partner ON partner.id = customer.partner_id
                        WHERE partner.parent_id IS NOT NULL
                   )
                   SELECT customer.company_id, array_agg(DISTINCT login.id)
                     FROM customer
                     JOIN res_partner contact ON contact.commercial_partner_id = customer.partner_id
                     JOIN res_users login ON login.partner_id = contact.id AND login.share AND login.active
                    WHERE NOT EXISTS (SELECT FROM res_company_users_rel known
                                       WHERE known.user_id = login.id AND known.cid = customer.company_id)
                    GROUP BY customer.company_id
                    ORDER BY customer.company_id"""
            )
        )
        for company_id, user_ids in rows:
            # sudo: logins are the system's
            self.env["res.users"].sudo().browse(user_ids).company_ids = [Command.link(company_id)]

    def _get_guarded_values(self, values):
        """The names of those of ``values`` that change what is printed on bills or decides about taxes: name and tax
        number of a customer, also through one of its contacts, and a country that is not the customer's.

        :param values: of Odoo's form of addresses
        """
        self.ensure_one()
        customer = self.commercial_partner_id
        known = {"country_id": {self.country_id.id, customer.country_id.id}}
        if self == customer:
            known |= {"name": {self.name}, "vat": {self.vat or ""}}
        elif customer.is_company:
            known["company_name"] = {customer.name, ""}  # Odoo would rename the company
        changed = [name for name in known if name in values and (values[name] or "") not in known[name] | {False}]
        return changed if changed and self._is_billing_customer() else []

    def _get_billing_portal_balances(self):
        """What this customer owes today to the companies of the reader.

        The caller has checked that the reader belongs to the customer.

        :return: list of dicts, one for each currency: ``currency``, ``balance``, ``overdue``; none for readers who
            are not shown bills
        """
        if not self.env.user._sees_bills():
            return []
        # sudo: customers may read their bills but not their payments, which a balance is made of
        receivable_sudo = self.env["billing.receivable"].sudo()
        companies = self.env.companies
        sums = {}
        for company in companies.filtered(lambda company: company.parent_id not in companies):
            balances = receivable_sudo._get_balances(
                company, company._get_billing_today(), self.commercial_partner_id.ids
            )
            for (_partner, currency_id), values in balances.items():
                before = sums.get(currency_id, (0.0, 0.0))
                sums[currency_id] = (before[0] + values["balance"], before[1] + values["overdue"])
        return [
            {"currency": self.env["res.currency"].browse(currency_id), "balance": balance, "overdue": overdue}
            for currency_id, (balance, overdue) in sorted(sums.items())
        ]

    def _get_billing_portal_next_bill(self):
        """The next bill of all contracts of this customer that the reader may see, as of ``_preview_next_bill``."""
        contracts = self.env["billing.contract"]
        if not contracts.has_access("read") or not self.env.user._sees_bills():
            return None
        domain = self._get_billing_contracts_domain() & fields.Domain("next_bill_date", "!=", False)
        return contracts.search(domain, order="next_bill_date, id", limit=MAX_PREVIEWED)._preview_next_bill()

    def _get_billing_portal_actions(self):
        """What waits for this customer. Override to add entries; called for the customer's own company.

        :return: list of dicts: ``text``, ``url``, ``level`` (danger, warning, info); most urgent first
        """
        return self._get_overdue_actions() + self._get_price_notice_actions() + self._get_profile_actions()

    def _get_overdue_actions(self):
        """Bills past their due date: one entry for all of them."""
        moves = self.env["account.move"]
        if not moves.has_access("read"):
            return []
        count = moves.search_count(
            [
                ("move_type", "=", "out_invoice"),
                ("state", "=", "posted"),
                ("payment_state", "in", ("not_paid", "partial")),
                self._get_overdue_bill_condition(),
                ("commercial_partner_id", "=", self.commercial_partner_id.id),
            ],
            limit=100,
        )
        if not count:
            return []
        text = self.env._("1 bill is overdue") if count == 1 else self.env._("%s bills are overdue", count)
        return [{"text": text, "url": "/my/invoices?filterby=overdue", "level": "danger"}]

    def _get_overdue_bill_condition(self):
        """The bills of which at least one instalment is past its due date, as the balance counts it."""
        today = fields.Date.context_today(self)
        late = [("display_type", "=", "payment_term"), ("reconciled", "=", False), ("date_maturity", "<", today)]
        return ("line_ids", "any", late)

    def _get_profile_actions(self):
        """Requests to confirm the profile that were not answered."""
        confirmations = self.env["billing.profile.confirmation"]
        if not confirmations.has_access("read"):
            return []
        asked = confirmations.search(
            [("partner_id", "child_of", self.commercial_partner_id.id), ("state", "=", "asked")], limit=5
        )
        text = self.env._("Please confirm your details")
        return [{"text": text, "url": confirmation.access_url, "level": "info"} for confirmation in asked]

    def _get_price_notice_actions(self):
        """Letters about new prices that were not answered."""
        notices = self.env["billing.price.notice"]
        if not notices.has_access("read"):
            return []
        # sudo: whether a letter is open is closed to customers; those that the reader may not read are left out
        open_sudo = notices.sudo().search(
            [
                ("partner_id", "child_of", self.commercial_partner_id.id),
                ("state", "in", ("sent", "letter")),
                ("is_acknowledged", "=", False),
                ("revision_id.state", "=", "notified"),
            ],
            order="date_effective, id",
            limit=10,
        )
        return [
            {
                "text": self.env._(
                    "Prices change on %s: read and answer", format_date(self.env, notice.date_effective)
                ),
                "url": notice.access_url,
                "level": "info",
            }
            for notice in open_sudo.sudo(False)._filtered_access("read")
        ]
