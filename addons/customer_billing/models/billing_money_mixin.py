from odoo import models


class BillingMoneyMixin(models.AbstractModel):
    """Records that contacts with other roles see, but not what they cost: see ``res.partner._sees_bills``."""

    _name = "billing.money.mixin"
    _description = "Record with Prices"

    # Fields that say what something costs, or open a page that does.
    _billing_money = frozenset()

    def _has_field_access(self, field, operation):
        return super()._has_field_access(field, operation) and (
            field.name not in self._billing_money or self.env.su or self.env.user._sees_bills()
        )

    def _get_billing_message_key(self, user):
        """What lets ``user`` post messages on the page of this record, which the caller has checked, as values of it.

        Whoever is not shown prices gets a key for messages alone: the token opens the page to whoever has it.
        """
        token = self._portal_ensure_token()
        if user._sees_bills():
            return {"token": token}
        return {"pid": user.partner_id.id, "hash": self._sign_token(user.partner_id.id)}

    def _portal_ensure_token(self):
        """Whoever is not shown prices gets no link that shows them."""
        return super()._portal_ensure_token() if self.env.user._sees_bills() else ""
