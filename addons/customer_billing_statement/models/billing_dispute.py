from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

FOLLOWS = object()
"""In the context ``billing_dispute``: the dispute goes on with another statement. No call from outside has it."""


class BillingDispute(models.Model):
    """Also an objection to a statement: to one of its lines, or to what is missing on it."""

    _inherit = "billing.dispute"

    move_id = fields.Many2one(required=False)
    statement_id = fields.Many2one(
        "billing.statement",
        index="btree_not_null",
        ondelete="restrict",
        check_company=True,
        domain=[("state", "in", ("sent", "disputed"))],
    )
    statement_line_id = fields.Many2one(
        "billing.statement.line",
        index="btree_not_null",
        ondelete="restrict",
        domain="[('statement_id', '=', statement_id)]",
        help="Empty: something that is missing on the statement.",
    )
    about_balance = fields.Boolean(
        string="About the Closing Balance", readonly=True, help="Not about one line of the statement."
    )
    our_amount = fields.Monetary(compute="_compute_our_amount", string="Our Figure")
    resolution_kind = fields.Selection(
        [
            ("credit_note", "Credit note"),
            ("correction", "Correction"),
            ("explained", "Explained"),
        ],
        string="Resolved By",
        tracking=True,
    )
    resolution_statement_id = fields.Many2one(
        related="statement_id.superseded_by_id", string="New Statement"
    )

    _has_subject = models.Constraint(
        "CHECK (move_id IS NOT NULL OR statement_id IS NOT NULL)",
        "A dispute is about a bill or a statement.",
    )

    @api.depends("statement_id")
    def _compute_from_document(self):
        return super()._compute_from_document()

    def _get_document_values(self):
        statement = self.statement_id
        if not statement:
            return super()._get_document_values()
        return {
            "partner_id": statement.partner_id,
            "company_id": statement.company_id,
            "currency_id": statement.currency_id,
        }

    def _get_document_name(self):
        return self.statement_id.name or super()._get_document_name()

    @api.depends("statement_line_id", "about_balance")
    def _compute_our_amount(self):
        for dispute in self:
            dispute.our_amount = dispute._get_figure(dispute.statement_id, dispute.statement_line_id)

    def _get_figure(self, statement, line):
        """What a statement says about the subject of this dispute; ``line`` may be empty."""
        if self.about_balance:
            return statement.balance_close
        return line._get_claimable_amount() if line else 0.0

    @api.depends("statement_line_id", "claimed_amount", "about_balance")
    def _compute_amount(self):
        """What is disputed: the difference between the two figures."""
        about_statements = self.filtered("statement_id")
        for dispute in about_statements:
            dispute.amount = abs(dispute.our_amount - dispute.claimed_amount)
        super(BillingDispute, self - about_statements)._compute_amount()

    @api.constrains("amount", "move_id")
    def _check_amount(self):
        about_statements = self.filtered("statement_id")
        for dispute in about_statements:
            if dispute.amount <= 0:
                raise ValidationError(
                    self.env._("The disputed amount must be above zero: enter what is claimed.")
                )
        super(BillingDispute, self - about_statements)._check_amount()

    @api.constrains("statement_id", "statement_line_id")
    def _check_statement(self):
        for dispute in self.filtered("statement_line_id"):
            if dispute.statement_line_id.statement_id != dispute.statement_id:
                raise ValidationError(self.env._("The line is on another statement."))

    @api.constrains("state", "resolution", "resolution_kind")
    def _check_resolution(self):
        super()._check_resolution()
        for dispute in self.filtered("statement_id"):
            if dispute.state == "accepted" and not dispute.resolution_kind:
                raise ValidationError(
                    self.env._(
                        "%s: choose what it was resolved by, then accept the dispute.", dispute.name
                    )
                )

    @api.model_create_multi
    def create(self, vals_list):
        disputes = super().create(vals_list)
        for dispute in disputes.filtered("statement_id"):
            dispute.statement_id._check_may_dispute()
        disputes.sudo().statement_id._refresh_disputed()  # protected field
        return disputes

    def write(self, vals):
        is_moved = "statement_id" in vals and any(d.statement_id.id != vals["statement_id"] for d in self)
        if is_moved and self.env.context.get("billing_dispute") is not FOLLOWS:
            raise UserError(self.env._("A dispute stays with its statement: open another one."))
        if vals.get("state") == "rejected":
            vals = {"resolution_kind": "explained", **vals}
        elif vals.get("state") == "accepted" and all(d.credit_move_ids for d in self):
            vals = {"resolution_kind": "credit_note", **vals}
        result = super().write(vals)
        if "state" in vals:
            self.sudo().statement_id._refresh_disputed()  # protected field
        return result

    def _follow(self, statement):
        """What is still open between the figures goes on with ``statement``, which has taken the place of theirs.

        What it has settled, and what is no more on it, waits with the old one for its resolution.
        """
        lines = {line.key: line for line in statement.line_ids}
        for dispute in self.filtered(lambda dispute: dispute.state == "open"):
            line = lines.get(dispute.statement_line_id.key, statement.line_ids.browse())
            is_lost = dispute.statement_line_id and not line
            difference = dispute._get_figure(statement, line) - dispute.claimed_amount
            if is_lost or statement.currency_id.is_zero(difference):
                continue
            dispute.with_context(billing_dispute=FOLLOWS).write(
                {"statement_id": statement.id, "statement_line_id": line.id}
            )
            dispute.message_post(
                body=self.env._("It goes on with the new statement, %s.", statement.name)
            )
        statement._refresh_disputed()

    def unlink(self):
        statements_sudo = self.sudo().statement_id  # protected field
        result = super().unlink()
        statements_sudo._refresh_disputed()
        return result
