from markupsafe import Markup

from odoo import Command, fields, models
from odoo.tools import format_date

from ..tools import dunning
from .billing_case_handover import NEW_DEBT, TASK


class BillingCase(models.Model):
    """What happens to a debt after its hand-over: the collector is told, so that the agency can be."""

    _name = "billing.case"
    _inherit = "billing.case"

    handover_known_move_ids = fields.Many2many(
        "account.move", "billing_case_known_move_rel", "case_id", "move_id", string="Told After the Hand-Over",
        readonly=True, copy=False,
        help="Payments and credits that were in the package, or that the collector was told of since.",
    )  # fmt: skip

    handover_move_ids = fields.Many2many(
        "account.move", "billing_case_handover_move_rel", "case_id", "move_id", string="Documents Handed Over",
        readonly=True, copy=False, help="What the last package is about.",
    )  # fmt: skip

    @property
    def _billing_protected(self):
        return super()._billing_protected | {"handover_known_move_ids", "handover_move_ids"}

    def _is_handed_over(self, move):
        """Whether a document is what the lawyer or agency collects; where the package is not known, by its day."""
        self.ensure_one()
        return move in self.handover_move_ids if self.handover_move_ids else move.date <= self.date_legal

    def _before_refresh(self, items, today):
        """Credits that are not matched with anything are told of too."""
        super()._before_refresh(items, today)
        for case in self.filtered("date_legal"):
            for row in items[case]:
                if row["residual"] < 0:
                    case._tell_credit(self.env["account.move"].browse(row["move_id"]), -row["residual"])

    def _tell_matches(self, partial_ids):
        """Tell of the credits that were matched with items of these cases, which are handed over. As superuser."""
        by_key = {(case.partner_id, case.company_id, case.currency_id): case for case in self}
        amounts = {}
        for partial in self.env["account.partial.reconcile"].browse(partial_ids).exists():
            item, move = partial.debit_move_id, partial.credit_move_id.move_id
            case = by_key.get((item.partner_id.commercial_partner_id, item.company_id.root_id, item.currency_id))
            is_item = case and item.account_type == "asset_receivable" and case._is_handed_over(item.move_id)
            if is_item and not move.exchange_diff_partial_ids:
                amounts[case, move] = amounts.get((case, move), 0.0) + partial.debit_amount_currency
        for (case, move), amount in amounts.items():
            case._tell_credit(move, amount)

    def _tell_credit(self, move, amount):
        """Tell of a payment or credit note, once.

        :param move: its entry
        :param float amount: what of it is for the case, in the case's currency
        """
        if move in self.handover_known_move_ids:
            return
        self.handover_known_move_ids = [Command.link(move.id)]
        case = self._localize_for_collector()
        kind = case.env._("Credit note") if move.move_type == "out_refund" else case.env._("Payment")
        if move.move_type == "entry" and move.journal_id.type == "general":
            kind = case.env._("Entry")
        owed = sum(row["residual"] for row in case._get_open_rows()[case])
        case._tell_agency(
            case.env._(
                "%(kind)s of %(amount)s after the hand-over: tell %(name)s",
                kind=kind,
                amount=case.currency_id.format(amount),
                name=case.handover_partner_id.name or "",
            ),
            case.env._(
                "%(document)s of %(date)s. The customer owes %(owed)s now.",
                document=move.name or "/",
                date=format_date(case.env, move.date),
                owed=case.currency_id.format(owed),
            ),
        )

    def _tell_overdue(self, items):
        """Tell of documents that have become overdue since the hand-over, each once: nothing is demanded here, so that
        a person has to decide what is done about them. As superuser.

        :param dict items: the items by case, with exclusions
        """
        for case in self.filtered("date_legal"):
            known = set(case.handover_known_move_ids.ids)
            owed = dunning.uncovered(case._get_kernel_items(items[case]), case._get_rounding())
            owed = {item.key for item in owed if not item.excluded}
            rows = [
                row
                for row in items[case]
                if row["days_overdue"] > 0 and row["move_line_id"] in owed and row["move_id"] not in known
                and not case._is_handed_over(self.env["account.move"].browse(row["move_id"]))
            ]  # fmt: skip
            if rows:
                case._ask_about_overdue(rows)

    def _ask_about_overdue(self, rows):
        """Give the collector one task for these new items of a case that is handed over."""
        self.handover_known_move_ids = [Command.link(row["move_id"]) for row in rows]
        case = self._localize_for_collector()
        money = case.currency_id.format
        summary = case.env._("Overdue after the hand-over: %s", money(sum(row["residual"] for row in rows)))
        documents = Markup("<br/>").join(
            case.env._(
                "%(document)s, due on %(date)s: %(amount)s",
                document=row["number"] or "/",
                date=format_date(case.env, row["date_maturity"]),
                amount=money(row["residual"]),
            )
            for row in rows
        )
        note = Markup("%s<br/>%s") % (
            documents,
            case.env._(
                "%s does not have it, and nothing is demanded while the case is handed over. Press New Package to hand "
                "it over too, or ask the customer yourself.",
                case.handover_partner_id.name or case.env._("The lawyer or agency"),
            ),
        )
        self._message_log(body=Markup("%s<br/>%s") % (summary, note))
        if self.collector_id:
            self.activity_schedule(NEW_DEBT, summary=summary, note=note, user_id=self.collector_id.id)

    def _get_handover_settled(self, items):
        """Those of these cases in which all is settled that was handed over, though other items are due: the debt that
        has come since then is collected from the start.

        :param dict items: the items by case
        """
        settled = self.browse()
        for case in self.filtered(lambda case: case.date_legal and not case._is_agreed()):
            collected = set(case.handover_move_ids.ids)
            if collected and not any(row["residual"] > 0 and row["move_id"] in collected for row in items[case]):
                settled += case
        return settled

    def _tell_dispute(self, dispute):
        """Tell of a dispute that concerns what was handed over, and of what became of it."""
        if not self.date_legal or dispute.move_id and not self._is_handed_over(dispute.move_id):
            return
        case = self._localize_for_collector()
        state = dict(dispute._fields["state"]._description_selection(case.env))[dispute.state]
        case._tell_agency(
            case.env._(
                "Dispute about %(amount)s after the hand-over (%(state)s): tell %(name)s",
                amount=case.currency_id.format(dispute.amount),
                state=state,
                name=case.handover_partner_id.name or "",
            ),
            dispute.display_name,
        )

    def _localize_for_collector(self):
        """This case in the language of its collector: others may have caused what is told."""
        return self.with_context(lang=self.collector_id.lang or self.env.lang)

    def _tell_agency(self, summary, note):
        """Write it on the case, and give the collector a task to tell the lawyer or agency."""
        self._message_log(body=Markup("%s<br/>%s") % (summary, note))
        if self.collector_id:
            self.activity_schedule(TASK, summary=summary, note=note, user_id=self.collector_id.id)
