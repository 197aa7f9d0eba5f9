from odoo import fields, models

ROLES = ("billing", "collection", "technical")
# Who gets the mails of a role that no contact has.
FALLBACK_ROLES = {"collection": "billing"}
# Who is shown bills in the portal, of the contacts that have a role.
BILL_ROLES = {"billing", "collection"}
ROLE_PREFIX = "billing_role_"


class ResPartner(models.Model):
    _name = "res.partner"
    _inherit = ["res.partner"]

    billing_role_billing = fields.Boolean(
        string="Gets Bills", help="Bills and statements of the customer are mailed to this contact."
    )
    billing_role_collection = fields.Boolean(
        string="Gets Reminders", help="Reminders about overdue bills are mailed to this contact."
    )
    billing_role_technical = fields.Boolean(
        string="Technical Contact",
        help="Is asked about the service itself; gets neither bills nor reminders for it. With this role alone the "
        "contact sees contracts and usage in the portal, but no bills, payments or balances.",
    )
    billing_size = fields.Selection(
        [("micro", "1–9 people"), ("small", "10–49"), ("medium", "50–249"), ("large", "250 and more")],
        string="Size",
        index="btree_not_null",
        groups="base.group_user",
    )
    billing_source = fields.Selection(
        [
            ("recommendation", "Recommendation"),
            ("website", "Website"),
            ("advertising", "Advertising"),
            ("event", "Fair or event"),
            ("partner", "Partner"),
            ("outreach", "Own sales"),
            ("other", "Other"),
        ],
        string="Source",
        help="How the customer came to us.",
        index="btree_not_null",
        groups="base.group_user",
    )

    def _commercial_fields(self):
        return super()._commercial_fields() + ["billing_size", "billing_source"]

    def write(self, vals):
        result = super().write(vals)
        # Record rules keep for each user whether bills are shown.
        decisive = {name for name in vals if name.startswith(ROLE_PREFIX)} | vals.keys() & {"parent_id", "is_company"}
        if decisive and self.sudo().user_ids:  # logins, whoever writes
            self.env.registry.clear_cache()
        return result

    def _get_billing_roles(self):
        """The roles that this contact itself has, as a set of names."""
        self.ensure_one()
        partner_sudo = self.sudo()  # whoever looks at the portal
        return {
            name.removeprefix(ROLE_PREFIX)
            for name in partner_sudo._fields
            if name.startswith(ROLE_PREFIX) and partner_sudo[name]
        }

    def _sees_bills(self):
        """Whether this contact, logged in, is shown bills and all that is made of them: balance, payments,
        statements, spending, reminders, objections, letters about prices, the profile with its tax data.

        This is the one place where it is decided; record rules and pages ask it. The customer itself does, and a
        contact without a role; a contact with roles does with one of ``BILL_ROLES`` only.
        """
        self.ensure_one()
        roles = self._get_billing_roles()
        return self == self.commercial_partner_id or not roles or bool(roles & BILL_ROLES)

    def _get_billing_recipients(self, role):
        """The contacts that mails of a role about this contact go to; all of them have an e-mail address.

        This is the one place where it is decided who of a customer gets what. The nearest contacts with the role are
        taken: this contact and those below it, else those of its parent, up to the customer. Where nobody has the role
        ``collection``, those with the role ``billing`` are. At last it is this contact itself, else the customer.

        :param str role: ``billing``, ``collection`` or ``technical``; modules add a role with a field
            ``billing_role_<role>``
        :return: partners, maybe none; archived ones get no mail
        """
        self.ensure_one()
        return self._map_billing_recipients(role)[self]

    def _map_billing_recipients(self, role):
        """``_get_billing_recipients`` for many contacts, in a number of queries that does not depend on how many.

        :return: {contact: recipients}
        """
        customers_sudo = self.sudo().commercial_partner_id  # addresses, whoever sends
        roles = [role, FALLBACK_ROLES[role]] if role in FALLBACK_ROLES else [role]
        by_role = [
            customers_sudo.search(
                [
                    ("commercial_partner_id", "in", customers_sudo.ids),
                    (f"billing_role_{name}", "=", True),
                    ("email", "!=", False),
                ]
            )
            for name in roles
        ]
        result = {}
        for partner in self:
            partner_sudo = partner.sudo()  # as above
            chosen = next((found for named in by_role if (found := named._get_nearest(partner_sudo))), None)
            if chosen is None:
                reachable = (partner_sudo + partner_sudo.commercial_partner_id).filtered(lambda p: p.email and p.active)
                chosen = reachable[:1]
            result[partner] = chosen.sudo(self.env.su)
        return result

    def _group_by_billing_lang(self, default):
        """These recipients by the language that each of them reads; the first one's comes first.

        :param str default: the language of those who have none
        :return: {code: contacts}
        """
        installed = {code for code, _name in self.env["res.lang"].get_installed()}
        return self.grouped(lambda partner: partner.lang if partner.lang in installed else default or self.env.lang)

    def _get_nearest(self, partner):
        """Those of ``self`` that are ``partner`` or below it, else below its parent, up to the customer."""
        mine = self.filtered(lambda contact: contact.commercial_partner_id == partner.commercial_partner_id)
        level = partner
        while mine and level:
            if found := mine.filtered(lambda contact, level=level: contact._is_below(level)):
                return found
            level = level.parent_id if level != partner.commercial_partner_id else level.browse()
        return self.browse()

    def _is_below(self, other):
        """Whether this contact is ``other`` or one of its contacts, at any depth."""
        contact = self
        while contact and contact != other:
            contact = contact.parent_id
        return bool(contact)
