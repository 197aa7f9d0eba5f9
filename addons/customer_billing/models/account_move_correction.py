from collections import defaultdict
from decimal import Decimal

from odoo import fields, models
from odoo.exceptions import UserError

from ..tools import charging, money


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
        in the context the periods are open again, and the next run bills them. What was credited
        or adjusted before is not credited once more.

        :raises UserError: nothing is left of a bill, or not all of one that is to be replaced
        """
        whole = cancel or bool(self.env.context.get("billing_modify"))
        left = {move: move._get_billing_left(whole) for move in self}
        reverse_moves = super()._reverse_moves(default_values_list, cancel)
        again = bool(self.env.context.get("billing_again"))
        for move, reverse in zip(self, reverse_moves, strict=True):
            reverse._reduce_to_billing_left(move, left[move])
            move._copy_charges_to(reverse, sign=-1, waived=not again, left=left[move])
        if again and not self.env.context.get("billing_modify"):
            self.invoice_line_ids.sudo().billing_charge_ids._touch_contracts()
        return reverse_moves

    def _get_billing_left(self, whole):
        """What is left to credit of the lines of this bill: {line: amount} of those that were credited or
        adjusted before, in the basis of their price and with the sign that they have here.

        :param whole: nothing may be missing, since the bill is taken back as a whole
        :raises UserError: nothing is left, or not all when ``whole``
        """
        lines = self._get_billing_lines()
        charges_sudo = lines.sudo().billing_charge_ids  # engine-owned records
        if not charges_sudo:
            return {}
        sign = -1 if self.move_type == "out_refund" else 1
        charges_left = charges_sudo._get_left(self.reversal_move_ids)
        credited = self._get_billing_credited_by_hand()
        full, left = {}, {}
        for line in lines:
            if charges := line.sudo().billing_charge_ids:
                full[line] = sign * sum(money.to_decimal(charge.amount) for charge in charges)
                left[line] = sign * sum(charges_left[charge] for charge in charges)
            else:
                key = line._get_billing_hand_key()
                full[line] = line._get_billing_price_amount()
                taken = charging.what_is_left(full[line], credited[key])
                left[line] = full[line] - taken
                credited[key] -= taken
        reduced = {line: amount for line, amount in left.items() if amount != full[line]}
        if reduced and (whole or not any(left.values())):
            self._raise_billing_credited(charges_sudo)
        return reduced

    def _get_billing_credited_by_hand(self):
        """What credit notes for this bill took of the lines that a person added to it."""
        credited = defaultdict(Decimal)
        for line in self.reversal_move_ids.filtered(lambda move: move.state != "cancel")._get_billing_lines():
            if not line.sudo().billing_charge_ids:  # engine-owned records
                credited[line._get_billing_hand_key()] += line._get_billing_price_amount()
        return credited

    def _raise_billing_credited(self, charges_sudo):
        """Say by which documents this bill was credited, and what to do."""
        entries_sudo = charges_sudo.contract_line_id.charge_ids.filtered(
            lambda charge: charge.state == "billed" and charge.slot_start in charges_sudo.mapped("slot_start")
        )
        # sudo: their numbers are told, also where who credits may not open them
        others = (self.sudo().reversal_move_ids | entries_sudo.move_id).filtered(
            lambda move: move != self and move.state != "cancel"
        )
        raise UserError(
            self.env._(
                "%(bill)s was credited or adjusted before, by %(others)s, so it cannot be credited, cancelled or "
                "replaced as a whole: that would credit too much. If something is left, make a credit note: it takes "
                "what is left. Delete or cancel a draft that you do not need, or reverse a credit note given by "
                "mistake.",
                bill=self.display_name,
                others=", ".join(others.mapped("display_name")) or self.env._("entries that wait for the next bill"),
            )
        )

    def _reduce_to_billing_left(self, move, left):
        """Take from the lines of this new credit note for ``move`` what was credited before."""
        if not left:
            return
        lines, copies = move._get_billing_lines(), self._get_billing_lines()
        rounding = money.to_decimal(self.currency_id.rounding)
        for line, copy in zip(lines, copies, strict=True):
            if left.get(line):
                quantity, discount = money.to_decimal(copy.quantity), money.to_decimal(copy.discount)
                price = charging.unit_price(left[line], quantity, discount, rounding)
                if price is None:
                    quantity, discount, price = 1, 0, left[line]
                copy.write(
                    {"quantity": float(quantity), "discount": float(discount), "price_unit": float(price)}
                )
            elif line in left:
                copy.unlink()
        self._message_log(
            body=self.env._("Parts of %s were credited or adjusted before: this takes what is left.", move.display_name)
        )

    def _copy_charges_to(self, other, sign, waived, left=None):
        """Book the charges of this bill again for its copy ``other``, times ``sign``.

        What was waived stays so; what undoes a credit is never waived.

        :param left: {line: amount} of lines of which only a part is copied, or that have no copy at 0
        """
        self.ensure_one()
        charges_sudo = self.invoice_line_ids.sudo().billing_charge_ids  # engine-owned records
        if not charges_sudo:
            return
        left = left or {}
        charges_left = charges_sudo._get_left(self.reversal_move_ids - other) if left else {}
        lines = self._get_billing_lines().filtered(lambda line: left.get(line, True))
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
                key = charge._get_slot_key()
                is_waived = charge.waived or (waived and "credit_of" not in charge.trace)
                values = {"amount": sign * charge.amount, "price_unit": sign * charge.price_unit}
                if line in left:
                    values = {
                        "amount": sign * float(charges_left[charge]),
                        "quantity": copy.quantity,
                        "price_unit": sign * copy.price_unit,
                    }
                vals_list.append(
                    {
                        **charge._prepare_copy_vals(),
                        **values,
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
                amount = sign * float(line._get_billing_price_amount())
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

    def _get_left(self, reversals):
        """What is left to credit of each of these charges of one bill: {charge: amount with its sign}.

        What ``reversals`` of the bill credited is gone. A charge is never more than what is left of
        its slot once the adjustments on other bills are counted; a credit can be undone in full.
        """
        entries = defaultdict(list)  # of each slot, in order
        for entry in self.search(
            [
                ("contract_line_id", "in", self.contract_line_id.ids),
                ("slot_start", "in", self.mapped("slot_start")),
                ("state", "!=", "void"),
            ],
            order="revision",
        ):
            entries[entry._get_slot_key()].append((entry, money.to_decimal(entry.amount)))
        rest = {key: sum(amount for _entry, amount in found) for key, found in entries.items()}
        gone = {
            key: sum(amount for entry, amount in found if entry.move_id in reversals)
            for key, found in entries.items()
        }
        left = {}
        for charge in self.sorted("revision"):
            key = charge._get_slot_key()
            amount = money.to_decimal(charge.amount)
            taken = charging.what_is_left(amount, -gone[key])
            gone[key] += taken
            own = amount - taken
            before = sum(a for entry, a in entries[key] if entry.revision < charge.revision)
            left[charge] = own if before * amount < 0 else charging.what_is_left(own, rest[key])
            rest[key] -= left[charge]
        return left

    def _get_slot_key(self):
        """What the entries of one slot have in common."""
        self.ensure_one()
        return self.contract_line_id.id, self.kind, self.slot_start

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
        wanted = {charge._get_slot_key() for charge in self}
        return {key: revisions[key] for key in wanted}

    def _touch_contracts(self):
        """Let the next run look at the slots of these charges again."""
        for contract, charges in self.grouped("contract_id").items():
            contract._touch(min(charges.mapped("slot_start")))
