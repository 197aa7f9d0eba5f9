from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import plaintext2html

from ..tools import contact

BANK = "bank"  # the number of the customer's account, in res.partner.bank
MAX_LENGTH = 250
# What the customer may correct, and whether an officer must approve: name, country and numbers decide about taxes.
PROFILE_FIELDS = {
    "name": True,
    "vat": True,
    "company_registry": True,
    "street": False,
    "street2": False,
    "zip": False,
    "city": False,
    "state_id": False,
    "country_id": True,
    "phone": False,
    "email": False,
}


class BillingProfileChange(models.Model):
    """One thing that a customer corrected: before, after, and who approved it."""

    _name = "billing.profile.change"
    _description = "Change of a Profile"
    _inherit = ["billing.protected.mixin"]
    _order = "id desc"
    _rec_name = "label"
    _billing_protected = frozenset(
        (
            "confirmation_id", "partner_id", "company_id", "field_name", "old_value", "old_text", "new_value",
            "new_text", "state", "user_id", "date_decided",
        )
    )  # fmt: skip

    confirmation_id = fields.Many2one(
        "billing.profile.confirmation", required=True, index=True, ondelete="cascade"
    )
    partner_id = fields.Many2one(related="confirmation_id.partner_id", store=True, index=True)
    company_id = fields.Many2one(related="confirmation_id.company_id", store=True, index=True)
    field_name = fields.Char(required=True)
    label = fields.Char(string="What", compute="_compute_label")
    old_value = fields.Char()
    old_text = fields.Char(string="Before")
    new_value = fields.Char()
    new_text = fields.Char(string="After")
    state = fields.Selection(
        [("waiting", "To approve"), ("applied", "Applied"), ("approved", "Approved"), ("refused", "Refused")],
        string="Status",
        required=True,
        index=True,
    )
    reason = fields.Char(help="Why it was refused; the customer is told.")
    user_id = fields.Many2one("res.users", string="Decided By")
    date_decided = fields.Datetime(string="Decided On")

    @api.depends("field_name")
    @api.depends_context("lang")
    def _compute_label(self):
        partner_fields = self.env["res.partner"]._fields
        for change in self:
            name = change.field_name
            change.label = (
                partner_fields[name].get_description(self.env, ["string"])["string"]
                if name in partner_fields
                else self.env._("Bank Account")
            )

    @api.model
    def _prepare_changes(self, confirmation, values):
        """Return the values of changes for what differs from the profile.

        :raises UserError: a value is too long or unknown
        """
        partner, vals_list = confirmation.partner_id, []
        for name, approval in {**PROFILE_FIELDS, BANK: True}.items():
            if name not in values:
                continue
            old, old_text = self._read_value(partner, name)
            new, new_text = self._parse_value(name, values[name])
            if new == old or (name == BANK and not new):  # an account is not taken away by leaving the field empty
                continue
            self._check_format(name, new)
            vals_list.append(
                {
                    "confirmation_id": confirmation.id,
                    "field_name": name,
                    "old_value": old,
                    "old_text": old_text,
                    "new_value": new,
                    "new_text": new_text,
                    "state": "waiting" if approval else "applied",
                }
            )
        return vals_list

    @api.model
    def _read_value(self, partner, name):
        """Value and text of a part of the profile."""
        if name == BANK:
            number = partner.bank_ids[:1].acc_number or ""
            return number, number
        value = partner[name]
        if partner._fields[name].relational:
            return str(value.id or ""), value.display_name or ""
        return (value or "").strip(), (value or "").strip()

    @api.model
    def _parse_value(self, name, value):
        """Value and text of what the customer entered."""
        text = " ".join(str(value or "").replace("\0", "").split())
        if len(text) > MAX_LENGTH:
            raise UserError(
                self.env._("“%(text)s…” is too long: at most %(max)s characters.", text=text[:20], max=MAX_LENGTH)
            )
        if name in ("name", "email") and not text:
            raise UserError(self.env._("Name and e-mail address cannot be empty."))
        if name not in ("country_id", "state_id"):
            return text, text
        model = self.env["res.partner"]._fields[name].comodel_name
        record = self.env[model].browse(int(text)).exists() if text.isdecimal() and len(text) < 9 else None
        if text and not record:
            raise UserError(self.env._("Please choose a value from the list."))
        return (text, record.display_name) if record else ("", "")

    @api.model
    def _check_format(self, name, text):
        """Raise when bills or calls would not arrive; the checks before a contract is activated ask the same."""
        if name == "email" and contact.bad_emails(text):
            raise UserError(self.env._("“%s” is no e-mail address: write it as name@example.com.", text))
        if name == "phone" and text and not contact.is_phone(text):
            raise UserError(self.env._("“%s” is no telephone number.", text))

    def _check_values(self):
        """Try all changes, also those that wait, so that who entered something wrong is told.

        :raises UserError: of the field in question
        """
        if not self:
            return
        with self.env.cr.savepoint() as savepoint:
            self._apply()
            self.env.flush_all()
            savepoint.rollback()
        self.env.invalidate_all(flush=False)

    def _apply(self):
        """Write the changes on their customers. Callers check access; records are superuser's."""
        for partner, changes in self.grouped("partner_id").items():
            values = {}
            for change in changes:
                if change.field_name == BANK:
                    change._apply_bank()
                elif change.field_name in ("country_id", "state_id"):
                    values[change.field_name] = int(change.new_value) if change.new_value else False
                else:
                    values[change.field_name] = change.new_value
            state_country = partner.state_id.country_id.id or values.get("country_id")
            if "country_id" in values and "state_id" not in values and state_country != values["country_id"]:
                values["state_id"] = False
            partner.write(values)

    def _apply_bank(self):
        """The new account takes the place of the one that the customer saw; money is sent to it only once staff trust
        it, as core has it."""
        self.partner_id.bank_ids[:1].active = False
        banks = self.env["res.partner.bank"].with_context(active_test=False)
        known = banks.search(
            [("partner_id", "=", self.partner_id.id), ("acc_number", "=", self.new_value)], limit=1
        )
        if known:
            known.active = True
        else:
            banks.create({"partner_id": self.partner_id.id, "acc_number": self.new_value})

    def action_approve(self):
        """Apply changes that wait.

        :raises UserError: a change is decided, or the profile has changed since
        """
        self._check_waiting()
        for change in self:
            old, _text = self._read_value(change.partner_id.sudo(), change.field_name)  # sudo: see _decide
            if old != (change.old_value or ""):
                raise UserError(
                    self.env._(
                        "%(what)s of %(customer)s was changed since: refuse this, and ask the customer again.",
                        what=change.label,
                        customer=change.partner_id.display_name,
                    )
                )
            change.sudo()._apply()  # sudo: who may decide may not edit all of this, bank accounts for instance
        self._decide("approved")
        return True

    def action_refuse(self, reason=None):
        """Leave the profile as it is, and tell the customer why.

        :param str reason: default what is written under Reason
        :raises UserError: a change is decided, or there is no reason
        """
        self._check_waiting()
        for change in self:
            if not (reason or change.reason):
                raise UserError(self.env._("Write under Reason why %s is not changed.", change.label))
            if reason:
                change.reason = reason
        self._decide("refused")
        for record, changes in self.grouped("confirmation_id").items():
            body = "\n".join(
                self.env._("%(what)s was not changed: %(reason)s", what=change.label, reason=change.reason)
                for change in changes
            )
            record.message_post(
                body=plaintext2html(body),
                partner_ids=record.sudo()._get_recipients().ids,
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
            )
        return True

    def _check_waiting(self):
        self.check_access("write")
        if self.filtered(lambda change: change.state != "waiting"):
            raise UserError(self.env._("This change is decided already."))

    def _decide(self, state):
        changes_sudo = self.sudo()  # protected fields, and the log of the customer
        changes_sudo.write({"state": state, "user_id": self.env.uid, "date_decided": fields.Datetime.now()})
        for change in changes_sudo:
            text = (
                self.env._("%(what)s was changed from %(old)s to %(new)s, as the customer asked.",
                           what=change.label, old=change.old_text or "–", new=change.new_text or "–")
                if state == "approved"
                else self.env._("%(what)s was not changed to %(new)s: %(reason)s",
                                what=change.label, new=change.new_text or "–", reason=change.reason)
            )  # fmt: skip
            change.partner_id._message_log(body=plaintext2html(text))
        changes_sudo.confirmation_id._close_decided()
