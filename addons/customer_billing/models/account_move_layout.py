from odoo import fields, models

LAYOUTS = [
    ("detailed", "Detailed: each item, and how its amount was computed"),
    ("summary", "Summary: one line per contract"),
    ("site", "By site: the items of each customer address together"),
]


class ResCompany(models.Model):
    _name = "res.company"
    _inherit = "res.company"

    billing_layout = fields.Selection(
        LAYOUTS,
        string="Layout of Bills",
        default="detailed",
        required=True,
        help="How bills of contracts are printed for customers that want no other layout.",
        groups="base.group_user",
    )


class ResPartner(models.Model):
    _name = "res.partner"
    _inherit = "res.partner"

    billing_layout = fields.Selection(
        LAYOUTS,
        string="Layout of Bills",
        company_dependent=True,
        help="Empty: as the company has it. Read from the company that the bill goes to.",
    )


class AccountMove(models.Model):
    """How bills of contracts are laid out on paper. Numbers, taxes and totals are Odoo's own."""

    _name = "account.move"
    _inherit = "account.move"

    def _get_billing_layout(self):
        """The layout of this bill; bills that a person divided into sections are printed as they are."""
        self.ensure_one()
        if any(line.display_type != "product" for line in self.invoice_line_ids):
            return "detailed"
        partner = self.commercial_partner_id.with_company(self.company_id)
        return partner.billing_layout or self.company_id.sudo().billing_layout  # a setting, whoever reads the bill

    def _get_billing_groups(self):
        """The lines of this bill under headings: by site, else by contract when there are several.

        :return: list of dicts: ``name``, ``lines``, ``amount`` (in the basis of the prices), ``date_from``,
            ``date_to``; one without a name holds what comes from no contract; empty when no headings are needed
        """
        self.ensure_one()
        layout = self._get_billing_layout()
        groups = {}
        for line in self._get_move_lines_to_report():
            # sudo: the contract is part of the bill, which its reader may see
            contract = line.sudo().billing_charge_ids.contract_id[:1]
            groups.setdefault(contract.partner_id if layout == "site" else contract, []).append(line.id)
        has_sections = any(line.display_type != "product" for line in self.invoice_line_ids)
        if has_sections or (len(groups) < 2 and layout != "summary"):
            return []
        field = "price_total" if self.company_price_include == "tax_included" else "price_subtotal"
        found = []
        for key, ids in groups.items():
            lines = self.invoice_line_ids.browse(ids)
            found.append(
                {
                    "name": self._get_billing_heading(key),
                    "lines": lines,
                    "amount": sum(lines.mapped(field)),
                    "date_from": min(filter(None, lines.mapped("billing_period_start")), default=None),
                    "date_to": max(filter(None, lines.mapped("billing_period_end")), default=None),
                }
            )
        return sorted(found, key=lambda group: not group["name"])  # what has no heading comes last

    def _get_billing_heading(self, record):
        """The heading of a site (a contact) or of a contract; empty for neither."""
        if not record:
            return ""
        if record._name == "res.partner":
            place = ", ".join(part for part in (record.street, record.city) if part)
            return f"{record.name or record.display_name}, {place}" if place else record.name or record.display_name
        if record.client_ref:
            return self.env._(
                "Contract %(contract)s (%(reference)s)", contract=record.name, reference=record.client_ref
            )
        return self.env._("Contract %s", record.name)
