from odoo import api, models
from odoo.exceptions import AccessError


class BillingProtectedMixin(models.AbstractModel):
    """Fields that only the product's own methods set, never a person, an import or the API.

    A model lists them in ``_billing_protected``; its methods write them as ``record_sudo``.
    """

    _name = "billing.protected.mixin"
    _description = "Fields set by the billing engine only"

    _billing_protected = frozenset()

    @api.model_create_multi
    def create(self, vals_list):
        if not self.env.su:
            for vals in vals_list:
                self._check_billing_protected(vals, create=True)
        return super().create(vals_list)

    def write(self, vals):
        if not self.env.su:
            self._check_billing_protected(vals)
        return super().write(vals)

    def _check_billing_protected(self, vals, create=False):
        """Raise when ``vals`` sets a protected field; a default on creation is accepted."""
        names = self._billing_protected.intersection(vals)
        if create:
            defaults = self.default_get(list(names)) if names else {}
            names = {name for name in names if vals[name] and vals[name] != defaults.get(name)}
        if names:
            labels = ", ".join(
                self._fields[name].get_description(self.env, ["string"])["string"]
                for name in sorted(names)
            )
            raise AccessError(
                self.env._(
                    "%(fields)s cannot be set directly on %(model)s: use the buttons, or the "
                    "methods behind them.",
                    fields=labels,
                    model=self.env["ir.model"]._get(self._name).name,
                )
            )
