from odoo import api, models
from odoo.exceptions import AccessError
from odoo.tools import SQL


class BillingProtectedMixin(models.AbstractModel):
    """Fields that only the product's own methods set, never a person, an import or the API.

    A model lists them in ``_billing_protected``; its methods write them as ``record_sudo``. Stored
    fields that follow from others may be among them: Odoo would take any value for them.
    """

    _name = "billing.protected.mixin"
    _description = "Fields set by the billing engine only"

    _billing_protected = frozenset()

    @api.model_create_multi
    def create(self, vals_list):
        if self.env.su:
            return super().create(vals_list)
        defaults = self._get_billing_defaults()
        for vals in vals_list:
            self._check_billing_protected(vals, defaults)
        # Defaults of a user or of the context do not count for protected fields.
        vals_list = [{**defaults, **vals} for vals in vals_list]
        dropped = {f"default_{name}" for name in self._billing_protected}
        context = {key: value for key, value in self.env.context.items() if key not in dropped}
        records = super(BillingProtectedMixin, self.with_env(self.env(context=context))).create(vals_list)
        return records.with_env(self.env)

    def write(self, vals):
        if not self.env.su:
            self._check_billing_protected(vals)
        return super().write(vals)

    def _mark_changed(self):
        """Make this transaction collide with any other that does so for these records.

        Both may write different rows only (a pause here, charges there; two disputes), of which the database takes no
        notice: one would decide without what the other did. A new version of the record's row makes the later of the
        two wait, and start again when the other has committed. So a second click sees what the first one did.
        """
        if self.ids:
            self.env.cr.execute(
                SQL(
                    "UPDATE %s SET write_date = write_date WHERE id IN %s",
                    SQL.identifier(self._table),
                    tuple(self.ids),
                )
            )

    @api.model
    def _get_billing_defaults(self):
        """The values that protected fields start with: those of the model, nothing else.

        Computed ones have none.
        """
        defaults = {}
        for name in self._billing_protected:
            field = self._fields[name]
            if field.compute:
                continue
            value = field.default(self) if field.default else False
            defaults[name] = [] if field.type in ("one2many", "many2many") else value
        return defaults

    def _check_billing_protected(self, vals, defaults=None):
        """Raise when ``vals`` sets a protected field to more than its default on creation."""
        names = self._billing_protected.intersection(vals)
        if defaults is not None:
            names = {n for n in names if vals[n] and vals[n] != defaults.get(n)}
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
