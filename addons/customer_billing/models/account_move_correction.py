from collections import defaultdict

from odoo import fields, models
from odoo.exceptions import UserError
from odoo.tools import float_round


class AccountMove(models.Model):
    _inherit = "account.move"

    billing_correction = fields.Boolean(
        string="Correction of a Bill",
        readonly=True,
        copy=False,
        help="A credit note or a modified copy of a bill: its amounts may be edited, and the "
        "ledger follows when it is posted.",
    )

    def _reverse_moves(self, default_values_list=None, cancel=False):
        """The ledger follows every credit note, whichever button made it.

        By default the credit is for good: entries that netting ignores. With ``billing_again``
        in the context the periods are open again, and the next run bills them.
        """
        reverse_moves = super()._reverse_moves(default_values_list, cancel)
        again = bool(self.env.context.get("billing_again"))
        for move, reverse in zip(self, reverse_moves, strict=True):
            move._copy_charges_to(reverse, sign=-1, waived=not again)
        if again and not self.env.context.get("billing_modify"):
            self.invoice_line_ids.sudo().billing_charge_ids._touch_contracts()
        return reverse_moves

    def _copy_charges_to(self, other, sign, waived):
        """Book the charges of this bill again for its copy ``other``, times ``sign``.

        What was waived stays so; what undoes a credit is never waived.
        """
        self.ensure_one()
        charges_sudo = self.invoice_line_ids.sudo().billing_charge_ids  # engine-owned records
        if not charges_sudo:
            return
        lines = self._get_billing_lines()
        copies = other._get_billing_lines()
        if len(lines) != len(copies):
            raise UserError(
                self.env._("%s does not have the lines of the bill it is made from.", other.display_name)
            )
        other.sudo().write(  # protected fields
            {
                "billing_correction": True,
                "billing_contract_ids": [fields.Command.set(charges_sudo.contract_id.ids)],
            }
        )
        revisions = charges_sudo._get_next_revisions()
        vals_list = []
        for line, copy in zip(lines, copies, strict=True):
            for charge in line.sudo().billing_charge_ids:
                key = (charge.contract_line_id.id, charge.kind, charge.slot_start)
                is_waived = charge.waived or (waived and "credit_of" not in charge.trace)
                vals_list.append(
                    {
                        **charge._prepare_copy_vals(),
                        "amount": sign * charge.amount,
                        "price_unit": sign * charge.price_unit,
                        "revision": revisions[key],
                        "waived": is_waived,
                        "move_line_id": copy.id,
                        "trace": charge._prepare_copy_trace(sign, self),
                    }
                )
                revisions[key] += 1
        charges_sudo.create(vals_list)

    def _waive_charges(self):
        """Book the opposite of all charges of these cancelled bills, for good."""
        vals_list = []
        for move in self:
            for charge in move.invoice_line_ids.sudo().billing_charge_ids:  # engine-owned records
                [revision] = charge._get_next_revisions().values()
                vals_list.append(
                    {
                        **charge._prepare_copy_vals(),
                        "amount": -charge.amount,
                        "price_unit": -charge.price_unit,
                        "revision": revision,
                        "waived": True,
                        "move_line_id": charge.move_line_id.id,
                        "trace": charge._prepare_copy_trace(-1, move),
                    }
                )
        self.env["billing.charge"].sudo().create(vals_list)  # engine-owned records

    def _get_billing_lines(self):
        """The lines that a bill and its copies have in common, in the same order."""
        return self.line_ids.filtered(lambda line: line.display_type == "product").sorted(
            lambda line: (line.sequence, line.id)
        )

    def _post(self, soft=True):
        posted = super()._post(soft)
        posted.filtered("billing_correction")._follow_corrections()
        return posted

    def _follow_corrections(self):
        """Bring the ledger to what the lines of edited corrections say.

        What a person added or took off is waived: no run charges or credits it.
        """
        vals_list = []
        for move in self:
            sign = -1 if move.move_type == "out_refund" else 1
            for line in move._get_billing_lines():
                charges_sudo = line.sudo().billing_charge_ids  # engine-owned records
                if not charges_sudo:
                    continue
                amount = sign * float_round(
                    line.quantity * line.price_unit * (1 - line.discount / 100),
                    precision_rounding=move.currency_id.rounding,
                )
                difference = move.currency_id.round(amount - sum(charges_sudo.mapped("amount")))
                if not difference:
                    continue
                if waived := charges_sudo.filtered("waived")[:1]:
                    waived.amount += difference
                    continue
                charge = charges_sudo[0]
                [revision] = charge._get_next_revisions().values()
                vals_list.append(
                    {
                        **charge._prepare_copy_vals(),
                        "amount": difference,
                        "revision": revision,
                        "waived": True,
                        "move_line_id": line.id,
                        "trace": charge._prepare_copy_trace(1, move),
                    }
                )
        self.env["billing.charge"].sudo().create(vals_list)  # engine-owned records


class BillingCharge(models.Model):
    _inherit = "billing.charge"

    def _prepare_copy_vals(self):
        """Values of an entry for the same slot as this one."""
        self.ensure_one()
        return {
            name: self[name].id if self._fields[name].type == "many2one" else self[name]
            for name in (
                "contract_line_id", "contract_id", "partner_id", "company_id", "currency_id",
                "kind", "slot_start", "period_start", "period_end", "bill_date", "quantity",
                "price_unit",
            )
        } | {"state": "billed"}  # fmt: skip

    def _prepare_copy_trace(self, sign, move):
        """The trace of a copy: the frozen inputs, and what it undoes. After a credit no day of
        the slot counts as charged."""
        if sign > 0:
            return self.trace
        return {**self.trace, "credit_of": move.name, "served": []}

    def _get_next_revisions(self):
        """{(line id, kind, slot start): next free revision} of the slots of these charges."""
        revisions = defaultdict(int)
        for line, kind, slot_start, revision in self.sudo()._read_group(  # engine-owned records
            [
                ("contract_line_id", "in", self.contract_line_id.ids),
                ("slot_start", "in", self.mapped("slot_start")),
                ("state", "!=", "void"),
            ],
            ["contract_line_id", "kind", "slot_start:day"],
            ["revision:max"],
        ):
            revisions[line.id, kind, slot_start] = revision + 1
        wanted = {(charge.contract_line_id.id, charge.kind, charge.slot_start) for charge in self}
        return {key: revisions[key] for key in wanted}

    def _touch_contracts(self):
        """Let the next run look at the slots of these charges again."""
        for contract, charges in self.grouped("contract_id").items():
            contract._touch(min(charges.mapped("slot_start")))
