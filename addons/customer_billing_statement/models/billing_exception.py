from odoo import api, fields, models
from odoo.exceptions import UserError

from odoo.addons.customer_billing.models.billing_exception import (
    BillingException as BillingExceptionBase,
)


class BillingException(models.Model):
    _inherit = "billing.exception"
    _billing_protected = BillingExceptionBase._billing_protected | {"statement_id"}

    statement_id = fields.Many2one(
        "billing.statement", readonly=True, index="btree_not_null", ondelete="cascade"
    )

    _statement_unique = models.UniqueIndex(
        "(check_id, statement_id) WHERE statement_id IS NOT NULL",
        "A check makes one exception for a statement.",
    )

    @api.model
    def _check_statements(self, statements, findings):
        """Bring the exceptions of draft statements in line with what was found.

        :param findings: {(statement, check): message}
        :return: the open exceptions of ``statements``
        """
        known_sudo = self.sudo().search(  # engine-owned records
            [("statement_id", "in", statements.ids)]
        )
        known_sudo.filtered(
            lambda e: e.state == "open" and (e.statement_id, e.check_id) not in findings
        )._close(self.env._("Not found any more."))
        known = {(e.statement_id, e.check_id): e for e in known_sudo}
        vals_list = []
        for (statement, check), message in findings.items():
            if exception := known.get((statement, check)):
                exception._find_again_on_statement(message, check.severity)
            else:
                vals_list.append(self._prepare_statement_vals(statement, check, message))
        self._open(vals_list)
        return self._get_open_of_statements(statements)

    @api.model
    def _get_open_of_statements(self, statements, severity=None):
        """The open exceptions of ``statements``, as superuser."""
        domain = [("statement_id", "in", statements.ids), ("state", "=", "open")]
        if severity:
            domain.append(("severity", "=", severity))
        return self.sudo().search(domain)  # what holds a statement does not depend on who asks

    def _find_again_on_statement(self, message, severity):
        """A solved one that is found again is open again; a waived one if it is another matter."""
        changed = self.message != message or self.severity != severity
        if self.state == "resolved" or changed:
            vals = {"message": message, "severity": severity}
            if self.state != "open":
                vals.update(state="open", date_closed=False, closed_by_id=False)
            self.write(vals)

    @api.model
    def _prepare_statement_vals(self, statement, check, message):
        """Values of the exception that ``check`` makes for a statement."""
        return {
            "run_id": False,
            "check_id": check.id,
            "contract_id": False,
            "statement_id": statement.id,
            "partner_id": statement.partner_id.id,
            "company_id": statement.company_id.id,
            "message": message,
            "user_id": statement.user_id.id or self.env.uid,
        }

    def action_check_again(self):
        """Check again what these exceptions are about; what is gone is solved."""
        result = super().action_check_again()
        drafts = self.statement_id.filtered(lambda statement: statement.state == "draft")
        if drafts:
            drafts.action_check()
        return result

    def action_resolve(self):
        """A statement is checked again before its exception counts as solved."""
        self.check_access("write")
        about_statements = self.filtered("statement_id")
        about_statements.action_check_again()
        if exception := about_statements.filtered(lambda e: e.state == "open")[:1]:
            raise UserError(
                self.env._(
                    "%(name)s is still there: %(message)s Correct it, or waive it with a reason.",
                    name=exception.display_name,
                    message=exception.message,
                )
            )
        return super(BillingException, self - about_statements).action_resolve()

    def action_view_statement(self):
        """Open the statement that this exception is about."""
        self.ensure_one()
        return self.statement_id._get_form_action()
