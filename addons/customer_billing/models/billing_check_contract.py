from collections import defaultdict

from stdnum.util import get_cc_module

from odoo import api, models
from odoo.tools import SQL

from ..tools import contact as formats

# What makes two customers look the same: the same text of the first, found by an index on it.
NAME_KEY = "lower(regexp_replace({table}name, '[[:space:][:punct:]（），。、·]', '', 'g'))"
VAT_KEY = "upper(regexp_replace({table}vat, '[^A-Za-z0-9]', '', 'g'))"


class ResPartner(models.Model):
    _name = "res.partner"
    _inherit = ["res.partner"]

    _billing_name_key = models.Index(f"({NAME_KEY.format(table='')}) WHERE parent_id IS NULL")
    _billing_vat_key = models.Index(f"({VAT_KEY.format(table='')}) WHERE parent_id IS NULL AND vat IS NOT NULL")


class BillingCheck(models.Model):
    """Checks of customers before a contract is activated: ``_check_<code>(contracts, params)`` returns
    {contract: message}. ``contracts`` are drafts of one company, as superuser."""

    _name = "billing.check"
    _inherit = ["billing.check"]

    @api.model
    def _run_contract_checks(self, contracts):
        """Ask all checks of draft contracts; writes nothing.

        The number of queries does not depend on the number of contracts.

        :return: {(contract, check): message} in the language of the user
        """
        findings = {}
        self.env.flush_all()
        for company, of_company in contracts.grouped("company_id").items():
            checks_sudo = self.sudo().with_company(company)  # what a check finds does not depend on who asks
            contracts_sudo = checks_sudo.env["billing.contract"].browse(of_company.ids)
            contacts_sudo = contracts_sudo.partner_id | contracts_sudo.invoice_partner_id
            (contacts_sudo | contacts_sudo.commercial_partner_id).mapped("display_name")  # loads all at once
            checks_sudo = checks_sudo._get_checks(company, "contract").filtered(lambda c: c.severity != "off")
            for check, found in checks_sudo._run_together(contracts_sudo).items():
                for contract, message in found.items():
                    findings[contract.with_env(self.env), check.with_env(self.env)] = message
        return findings

    @api.model
    def _get_contacts(self, contract):
        """The customer and the contacts that a contract names."""
        partner = contract.partner_id
        return partner.commercial_partner_id | partner | contract.invoice_partner_id

    @api.model
    def _check_contract_email(self, contracts, params):
        """An e-mail address of the customer, or of those who get its bills, is none; or there is none at all."""
        recipients = contracts.invoice_partner_id._map_billing_recipients("billing")
        found = {}
        for contract in contracts:
            named = recipients[contract.invoice_partner_id]
            texts = [
                self.env._(
                    "“%(text)s” of %(contact)s is no e-mail address: correct it on the contact.",
                    text=text, contact=contact.display_name,
                )
                for contact in self._get_contacts(contract) | named
                for text in formats.bad_emails(contact.email or "")
            ]  # fmt: skip
            customer = contract.partner_id.commercial_partner_id.with_company(contract.company_id)
            if not named and (customer.billing_channel or "email") == "email":
                texts.append(
                    self.env._(
                        "%s gets bills by e-mail and has no address: add one, or choose another way on the customer.",
                        contract.invoice_partner_id.display_name,
                    )
                )
            if texts:
                found[contract] = " ".join(texts)
        return found

    @api.model
    def _check_contract_phone(self, contracts, params):
        """A telephone number is none."""
        found = {}
        for contract in contracts:
            bad = self._get_contacts(contract).filtered(lambda c: c.phone and not formats.is_phone(c.phone))
            if bad:
                found[contract] = " ".join(
                    self.env._(
                        "“%(text)s” of %(contact)s is no telephone number: correct it on the contact.",
                        text=contact.phone, contact=contact.display_name,
                    )
                    for contact in bad
                )  # fmt: skip
        return found

    @api.model
    def _check_contract_vat(self, contracts, params):
        """The tax number of the customer is not one of its country."""
        customers = contracts.partner_id.commercial_partner_id.filtered(lambda partner: not self._is_vat(partner))
        return {
            contract: self.env._(
                "The tax number “%(number)s” of %(customer)s is not valid in %(country)s: correct it, or write “/” "
                "when the customer has none.",
                number=customer.vat,
                customer=customer.display_name,
                country=customer.country_id.name,
            )
            for contract in contracts
            if (customer := contract.partner_id.commercial_partner_id) in customers
        }

    @api.model
    def _is_vat(self, partner):
        """Whether the tax number of a customer is valid in its country; True where nobody knows the format."""
        number, country = (partner.vat or "").strip(), partner.country_id.code
        if not number or number == "/" or not country:
            return True
        standard = get_cc_module(country, "vat")
        if not standard:
            return True
        bare = number[2:] if number[:2].upper() == country else number
        return standard.is_valid(number) or standard.is_valid(bare)

    @api.model
    def _check_contract_duplicate(self, contracts, params):
        """Another customer has the same tax number, e-mail address or name."""
        customers = contracts.partner_id.commercial_partner_id
        labels = {
            "vat": self.env._("the same tax number"),
            "email": self.env._("the same e-mail address"),
            "name": self.env._("the same name"),
        }
        reasons = defaultdict(lambda: defaultdict(list))
        for kind, mine, other in self.env.execute_query(self._select_duplicates(customers.ids, self.env.company)):
            reasons[mine][other].append(labels[kind])
        names = {
            partner.id: partner.display_name
            for partner in customers.browse({other for others in reasons.values() for other in others})
        }
        return {
            contract: self.env._(
                "%(customer)s may be there twice: %(others)s. Use the one that has contracts and bills, or merge them "
                "(Contacts › select both › Actions › Merge).",
                customer=customer.display_name,
                others="; ".join(
                    f"{names[other]} ({', '.join(texts)})" for other, texts in sorted(reasons[customer.id].items())
                ),
            )
            for contract in contracts
            if (customer := contract.partner_id.commercial_partner_id).id in reasons
        }

    @api.model
    def _select_duplicates(self, partner_ids, company):
        """(kind, customer, other) of customers of all companies or of ``company`` that look the same."""
        keys = {"vat": VAT_KEY, "email": "{table}email_normalized", "name": NAME_KEY}
        return SQL(" UNION ").join(
            SQL(
                """SELECT %(kind)s, mine.id, other.id
                     FROM res_partner mine
                     JOIN res_partner other ON %(other)s = %(mine)s AND other.id <> mine.id AND other.parent_id IS NULL
                    WHERE mine.id = ANY(%(partners)s) AND COALESCE(%(mine)s, '') <> '' AND other.active
                      AND (other.company_id IS NULL OR other.company_id = %(company)s)""",
                kind=kind,
                mine=SQL(key.format(table="mine.")),  # pylint: disable=sql-injection
                other=SQL(key.format(table="other.")),  # pylint: disable=sql-injection
                partners=list(partner_ids),
                company=company.id,
            )
            for kind, key in keys.items()
        )
