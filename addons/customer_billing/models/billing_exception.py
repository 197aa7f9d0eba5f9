from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError

CLOSED = ("resolved", "waived")


class BillingException(models.Model):
    """Something that a person must decide, with owner, due date, cause and resolution.

    The system opens exceptions, and closes those whose reason is gone. A person finds the
    cause, and waives what is right as it is.
    """

    _name = "billing.exception"
    _description = "Billing Exception"
    _inherit = ["billing.protected.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "date_due, id desc"
    _check_company_auto = True
    _billing_protected = frozenset(
        (
            "run_id", "check_id", "contract_id", "move_id", "partner_id", "company_id", "message",
            "severity", "state", "date_closed", "closed_by_id",
        )
    )  # fmt: skip

    run_id = fields.Many2one(
        "billing.run", readonly=True, copy=False, index="btree_not_null", ondelete="cascade"
    )
    check_id = fields.Many2one(
        "billing.check", required=True, readonly=True, index=True, ondelete="restrict"
    )
    contract_id = fields.Many2one(
        "billing.contract", readonly=True, index="btree_not_null", ondelete="cascade"
    )
    move_id = fields.Many2one(
        "account.move", string="Bill", readonly=True, index="btree_not_null", ondelete="set null"
    )
    partner_id = fields.Many2one("res.partner", string="Customer", readonly=True, index=True)
    company_id = fields.Many2one("res.company", required=True, readonly=True, index=True)
    message = fields.Char(string="What Was Found", readonly=True)
    severity = fields.Selection(
        [("warning", "Warning"), ("blocking", "Blocking")], required=True, readonly=True
    )
    state = fields.Selection(
        [("open", "Open"), ("resolved", "Solved"), ("waived", "Waived")],
        string="Status",
        default="open",
        required=True,
        readonly=True,
        index=True,
        tracking=True,
        group_expand=True,
    )
    user_id = fields.Many2one(
        "res.users", string="Owner", domain=[("share", "=", False)], tracking=True, index=True
    )
    date_due = fields.Date(string="Due", tracking=True)
    cause_id = fields.Many2one("billing.cause", tracking=True, ondelete="restrict", index=True)
    resolution = fields.Text(
        tracking=True, help="What was found and done; why it is right as it is, when waived."
    )
    date_closed = fields.Date(readonly=True, copy=False)
    closed_by_id = fields.Many2one(
        "res.users", string="Closed By", readonly=True, copy=False,
        help="Empty: closed by itself, when the reason was gone.",
    )  # fmt: skip

    # A bill that is deleted leaves its (closed) exceptions without one.
    _move_unique = models.UniqueIndex(
        "(run_id, check_id, move_id) WHERE move_id IS NOT NULL",
        "A check makes one exception for a bill.",
    )
    _contract_unique = models.UniqueIndex(
        "(check_id, contract_id) WHERE move_id IS NULL AND state = 'open'",
        "This is open for the contract already.",
    )
    _open_index = models.Index("(move_id) WHERE state = 'open'")

    @api.depends("check_id", "move_id", "contract_id", "partner_id")
    def _compute_display_name(self):
        for exception in self:
            about = exception.contract_id.name or exception.partner_id.display_name
            exception.display_name = f"{exception.check_id.name}: {about or ''}"

    # Find

    @api.model
    def _check_moves(self, moves):
        """Check bills of runs, and bring their exceptions in line with what is found.

        Open ones that are not found any more are solved. Solved ones that are found again are
        opened; waived ones only when they are about something else now.

        :return: the open exceptions of ``moves``
        """
        moves = moves.filtered(lambda move: move.billing_run_id and move.state != "cancel")
        findings = self.env["billing.check"]._run_checks(moves)
        known_sudo = self.sudo().search([("move_id", "in", moves.ids)])  # engine-owned records
        known_sudo._close_unfound(findings)
        known = {(exception.move_id, exception.check_id): exception for exception in known_sudo}
        vals_list = []
        for (move, check), message in findings.items():
            if exception := known.get((move, check)):
                exception._find_again(message, check.severity)
            else:
                vals_list.append(self._prepare_move_vals(move, check, message))
        self._open(vals_list)
        return self._get_open(moves)

    @api.model
    def _get_open(self, moves, severity=None):
        """The open exceptions of ``moves``, as superuser."""
        domain = [("move_id", "in", moves.ids), ("state", "=", "open")]
        if severity:
            domain.append(("severity", "=", severity))
        return self.sudo().search(domain)  # what holds a bill does not depend on who asks

    def _close_unfound(self, findings):
        """Close what was open and is not found any more."""
        self.filtered(
            lambda exception: exception.state == "open"
            and (exception.move_id, exception.check_id) not in findings
        )._close(self.env._("Not found any more."))

    def _find_again(self, message, severity):
        """Note that a known exception is still, or again, there."""
        changed = self.message != message or self.severity != severity
        if self.state == "resolved" or changed:
            vals = {"message": message, "severity": severity, "run_id": self.move_id.billing_run_id.id}
            if self.state != "open":
                vals.update(state="open", date_closed=False, closed_by_id=False)
            self.write(vals)

    @api.model
    def _prepare_move_vals(self, move, check, message):
        """Values of the exception that ``check`` makes for a bill. Override to add values."""
        return {
            "run_id": move.billing_run_id.id,
            "check_id": check.id,
            "move_id": move.id,
            "contract_id": move.billing_contract_ids[:1].id,
            "partner_id": move.partner_id.id,
            "company_id": move.company_id.id,
            "message": message,
        }

    @api.model
    def _report(self, code, messages, run=None):
        """Open exceptions that the system itself reports, one per contract.

        One that is open for a contract goes on, with the new message and run.

        :param messages: {contract: message}; contracts of one company
        """
        if not messages:
            return
        contracts = self.env["billing.contract"].union(*messages)
        check = self.env["billing.check"]._get_event(code, contracts.company_id[:1])
        if not check or check.severity == "off":
            return
        known = {
            exception.contract_id: exception
            for exception in self._get_open_events(code, contracts)
        }
        vals_list = []
        for contract, message in messages.items():
            if exception := known.get(contract):
                exception.write({"message": message, **({"run_id": run.id} if run else {})})
                continue
            vals_list.append(
                {
                    "run_id": run.id if run else False,
                    "check_id": check.id,
                    "contract_id": contract.id,
                    "partner_id": contract.partner_id.id,
                    "company_id": contract.company_id.id,
                    "message": message,
                }
            )
        self._open(vals_list)

    @api.model
    def _get_open_events(self, code, contracts):
        """Open exceptions of contracts that the system reported, as superuser."""
        return self.sudo().search(  # engine-owned records
            [
                ("check_id.code", "=", code),
                ("contract_id", "in", contracts.ids),
                ("move_id", "=", False),
                ("state", "=", "open"),
            ]
        )

    @api.model
    def _open(self, vals_list):
        """Create exceptions with their owner and due date; blocking ones are on a to-do list."""
        if not vals_list:
            return
        exceptions_sudo = (
            self.sudo()  # engine-owned records
            .with_context(mail_create_nolog=True, mail_create_nosubscribe=True, tracking_disable=True)
            .create([self._complete_vals(vals) for vals in vals_list])
        )
        blocking = exceptions_sudo.filtered(lambda exception: exception.severity == "blocking")
        for (user, date), same in blocking.grouped(lambda e: (e.user_id, e.date_due)).items():
            same.with_context(mail_activity_quick_update=True).activity_schedule(
                "mail.mail_activity_data_todo",
                date_deadline=date,
                summary=user.with_context(lang=user.lang).env._("Solve or waive"),
                user_id=user.id,
            )

    @api.model
    def _complete_vals(self, vals):
        """``vals`` with severity, owner (the billing officer, else who prepared the run) and
        due date."""
        check = self.env["billing.check"].browse(vals["check_id"]).sudo()  # configuration
        # sudo: the owner does not depend on who asks
        contract = self.env["billing.contract"].browse(vals["contract_id"]).sudo()
        run = self.env["billing.run"].browse(vals["run_id"]).sudo()
        company = self.env["res.company"].browse(vals["company_id"])
        owner = contract.officer_id or run.prepared_by_id or self.env.user
        return {
            "severity": check.severity,
            "user_id": owner.id,
            "date_due": company._get_billing_today() + timedelta(days=check.due_days),
            **vals,
        }

    # Close

    def _close(self, resolution, state="resolved", user=None):
        """Close exceptions. A resolution that a person wrote stays."""
        for exception_sudo in self.sudo():  # protected fields
            exception_sudo.write(
                {
                    "state": state,
                    "date_closed": exception_sudo.company_id._get_billing_today(),
                    "closed_by_id": user and user.id,
                    "resolution": exception_sudo.resolution or resolution,
                }
            )
        self.sudo().activity_unlink(["mail.mail_activity_data_todo"])  # of their owners

    def action_check_again(self):
        """Check the bills of these exceptions again; what is not found any more is solved."""
        self.check_access("write")
        self._check_moves(self.move_id)
        for run in self.move_id.billing_run_id:
            run._refresh_holds(self.move_id.filtered(lambda m, r=run: m.billing_run_id == r))
        return True

    def action_resolve(self):
        """Close exceptions whose reason is gone.

        :raises UserError: the check still finds it, or nobody wrote what was done
        """
        self.check_access("write")
        self.filtered("move_id").action_check_again()
        for exception in self.filtered(lambda exception: exception.state == "open"):
            if exception.move_id:
                raise UserError(
                    self.env._(
                        "%(name)s is still there: %(message)s Correct it, or waive it with a "
                        "reason.",
                        name=exception.display_name,
                        message=exception.message,
                    )
                )
            exception._check_resolution()
            exception._close(False, user=self.env.user)
        return True

    def action_waive(self, reason=None):
        """Accept exceptions as they are, with a reason; their bills can be posted.

        :param reason: why; not needed where the resolution says it
        :raises UserError: no reason, or the user may not decide this
        """
        self.check_access("write")
        for exception in self.filtered(lambda exception: exception.state == "open"):
            exception._check_may_waive()
            if reason:
                exception.resolution = reason
            exception._check_resolution()
            exception._close(False, state="waived", user=self.env.user)
        for run in self.move_id.billing_run_id:
            run._refresh_holds(self.move_id.filtered(lambda m, r=run: m.billing_run_id == r))
        return True

    def _check_resolution(self):
        if not (self.resolution or "").strip():
            raise UserError(
                self.env._(
                    "%s: write under Resolution what was found and decided, then close it.",
                    self.display_name,
                )
            )

    def _check_may_waive(self):
        """Raise when the user may not waive this exception.

        Where approval by a second person is on, nobody who prepared the run decides, and
        blocking ones are for billing managers. Otherwise any billing officer does.
        """
        # sudo: setting of the company, preparers of the run
        if not self.company_id.sudo().billing_approval:
            return
        blocking = self.severity == "blocking"
        if blocking and not self.env.user.has_group("customer_billing.group_billing_manager"):
            raise UserError(
                self.env._(
                    "%s holds the bill back: only a billing manager waives it.", self.display_name
                )
            )
        run_sudo = self.run_id.sudo()
        authors = self.move_id.sudo()._get_billing_authors()
        if self.env.user in run_sudo.preparer_ids | run_sudo.create_uid | authors:
            raise UserError(
                self.env._(
                    "You prepared run %s. Its exceptions are waived by somebody else. (Settings › "
                    "Billing turns the approval off.)",
                    run_sudo.name,
                )
            )

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise UserError(self.env._("Exceptions are kept: solve or waive them instead."))

    # Views

    def action_view_bill(self):
        """Open the bill that this exception is about."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": "account.move",
            "res_id": self.move_id.id,
            "view_mode": "form",
        }
