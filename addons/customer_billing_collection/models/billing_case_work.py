from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import format_date

from .billing_case import CLOSED


class BillingCase(models.Model):
    """What collectors see and press."""

    _name = "billing.case"
    _inherit = "billing.case"

    partner_phone = fields.Char(related="partner_id.phone", string="Phone")
    partner_email = fields.Char(related="partner_id.email", string="E-mail")
    user_id = fields.Many2one(related="partner_id.user_id", string="Salesperson")
    priority_text = fields.Char(string="Why This Priority", compute="_compute_priority_text")
    items_html = fields.Html(string="Items", compute="_compute_items_html", sanitize=False)
    next_channel = fields.Selection(related="next_step_id.channel", string="Next Channel")
    waiting_notice_count = fields.Integer(compute="_compute_counts", string="Waiting Notices")
    notice_count = fields.Integer(compute="_compute_counts", string="Notices")
    dispute_count = fields.Integer(compute="_compute_counts", string="Open Disputes")

    @api.depends("notice_ids.state", "partner_id")
    def _compute_counts(self):
        waiting, sent = {}, {}
        for case, state, count in self.env["billing.dunning.notice"]._read_group(
            [("case_id", "in", self.ids), ("state", "in", ("proposed", "queued", "failed", "sent"))],
            ["case_id", "state"],
            ["__count"],
        ):
            counts = sent if state == "sent" else waiting
            counts[case] = counts.get(case, 0) + count
        disputes = {
            (partner.id, company.id): count
            for partner, company, count in self.env["billing.dispute"]._read_group(
                [("partner_id", "in", self.partner_id.ids), ("state", "=", "open")],
                ["partner_id", "company_id"],
                ["__count"],
            )
        }
        for case in self:
            case.waiting_notice_count = waiting.get(case, 0)
            case.notice_count = sent.get(case, 0)
            case.dispute_count = disputes.get((case.partner_id.id, case.company_id.id), 0)

    @api.depends_context("lang")
    @api.depends("priority_reason")
    def _compute_priority_text(self):
        for case in self:
            reason = case.priority_reason
            case.priority_text = reason and self.env._(
                "%(amount)s overdue × %(age)s (%(days)s days) × %(behaviour)s (%(late)s %% of the bills of a year "
                "late, %(broken)s %% of the promises broken)",
                amount=case.company_currency_id.format(reason["amount"]),
                age=reason["age_factor"],
                days=reason["days"],
                behaviour=reason["behaviour_factor"],
                late=round(reason["late_share"] * 100),
                broken=round(reason["broken_share"] * 100),
            )

    @api.depends_context("lang")
    @api.depends("partner_id", "date_refreshed")
    def _compute_items_html(self):
        """The open items as a table; documents are links."""
        for case in self:
            rows = case._get_items()[case] if case.id else []
            case.items_html = case._render_items_table(rows) if rows else False

    def _render_items_table(self, rows):
        reasons = self._get_exclusion_labels()
        headings = [
            self.env._("Document"), self.env._("Reference"), self.env._("Due"), self.env._("Days overdue"),
            self.env._("Amount"), self.env._("Open"), self.env._("Not demanded because"),
        ]  # fmt: skip
        money = self.currency_id.format
        head = Markup("").join(
            Markup("<th%s>%s</th>") % (self._end(index), text) for index, text in enumerate(headings)
        )
        body = Markup("").join(
            Markup("<tr>%s</tr>")
            % Markup("").join(
                Markup("<td%s>%s</td>") % (self._end(index), cell)
                for index, cell in enumerate(
                    (
                        Markup('<a href="/odoo/account.move/%s">%s</a>') % (row["move_id"], row["number"] or "/"),
                        row["ref"] or "",
                        format_date(self.env, row["date_maturity"]),
                        row["days_overdue"] if row["days_overdue"] > 0 and row["residual"] > 0 else "",
                        money(row["amount"]),
                        money(row["residual"]),
                        self._render_reason(row, reasons),
                    )
                )
            )
            for row in rows
        )
        return Markup(
            '<table class="table table-sm table-hover o_list_table">'
            "<thead><tr>%s</tr></thead><tbody>%s</tbody></table>"
        ) % (head, body)

    def _render_reason(self, row, reasons):
        """Why an item is not demanded, with the payments that are on their way for it, and those that were."""
        parts = [reasons.get(row["excluded"])]
        for payment in row["payments"]:
            text = self._describe_payment(payment, self.currency_id)
            parts.append(self.env._("%s: not awaited any longer", text) if payment["is_late"] else text)
        return Markup("<br/>").join(part for part in parts if part)

    @api.model
    def _end(self, index):
        return Markup(' class="text-end"') if index in (3, 4, 5) else ""

    @api.model
    def _get_exclusion_labels(self):
        """Texts of why an item is not demanded."""
        return {
            "dispute": self.env._("In dispute"),
            "promise": self.env._("Promised"),
            "instalment": self.env._("Instalment agreement"),
            "transit": self.env._("Payment on its way"),
        }

    @api.model
    def _get_portal_labels(self):
        """What customers read about items that are not demanded, by kind of exclusion."""
        return {
            "dispute": self.env._("You objected: we are looking into it"),
            "promise": self.env._("You promised to pay"),
            "instalment": self.env._("Paid in parts"),
            "transit": self.env._("Payment on its way"),
        }

    def _notify_get_recipients_groups(self, message, model_description, msg_vals=False):
        """Customers have no page of the case: their mails have no link to it."""
        groups = super()._notify_get_recipients_groups(message, model_description, msg_vals=msg_vals)
        for name, _is_in_group, data in groups:
            if name != "user":
                data["has_button_access"] = False
        return groups

    # The day's work

    @api.model
    def _get_due_domain(self):
        """The cases that the user has to look at today."""
        return [
            *self._get_open_domain(),
            ("collector_id", "=", self.env.uid),
            ("next_action_date", "<=", fields.Date.context_today(self)),
            ("amount_overdue", ">", 0),
        ]

    def action_call_next(self):
        """Open the most important case that waits for the user today.

        :return: an action: the form of the case, or a message that the work is done
        """
        case = self.search(
            [*self._get_due_domain(), ("id", "not in", self.ids)], order="priority desc, next_action_date, id", limit=1
        )
        if case:
            return case._get_form_action()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success",
                "message": self.env._("No case waits for you today."),
                "next": {"type": "ir.actions.act_window_close"},
            },
        }

    def _get_form_action(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Collection Case"),
            "res_model": self._name,
            "res_id": self.id,
            "views": [(False, "form")],
            "target": "current",
        }

    def action_open_call(self):
        """Open the wizard that records a call."""
        self.ensure_one()
        return {
            **self.env["ir.actions.actions"]._for_xml_id("customer_billing_collection.billing_case_call_action"),
            "context": {"default_case_id": self.id},
        }

    def action_refresh(self):
        """Look at these cases again now."""
        self.check_access("write")
        self.filtered(lambda case: case.state not in CLOSED)._refresh()
        return True

    # Drill-down

    def action_view_notices(self):
        """Open the notices of these cases."""
        action = self.env["ir.actions.actions"]._for_xml_id("customer_billing_collection.billing_dunning_notice_action")
        return {**action, "domain": [("case_id", "in", self.ids)], "context": {}}

    def action_view_customer(self):
        """Open all that is known about the customer."""
        return self.partner_id.action_open_billing_360()

    def action_view_items(self):
        """Open what the customers owe today, item by item."""
        return self.partner_id.action_view_billing_receivable()

    def action_view_disputes(self):
        """Open the disputes of these customers."""
        action = self.env["ir.actions.actions"]._for_xml_id("customer_billing.billing_dispute_action")
        return {**action, "domain": [("partner_id", "in", self.partner_id.ids)], "context": {}}
