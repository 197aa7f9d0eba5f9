from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import format_datetime

RUN_HOURS = 1  # that a background job may show no work
NIGHT_HOURS = 26  # since the nightly job last worked
DELIVERY_HOURS = 24  # that a bill may wait to be sent
APPROVAL_DAYS = 3  # that a draft bill may wait for a person
UNBILLED_DAYS = 7  # that a contract may be due
USAGE_DAYS = 92  # of which usage that is not charged is shown


class BillingHealth(models.TransientModel):
    """One line of the health page: computed anew, for one user, each time it is opened."""

    _name = "billing.health"
    _description = "Billing Health"
    _order = "id"

    name = fields.Char(string="What", readonly=True)
    value = fields.Char(readonly=True)
    severity = fields.Selection(
        [("ok", "All right"), ("info", "For information"), ("warning", "Look at it"), ("danger", "Act now")],
        readonly=True,
    )
    hint = fields.Char(string="What to Do", readonly=True)
    action = fields.Json(readonly=True)

    @api.model
    def action_open_health(self):
        """Compute the health page for the companies that the user works in, and open it."""
        self.check_access("read")
        # sudo: the lines of the page are nobody's to create; they hold what the user may read
        self_sudo = self.sudo()
        self_sudo.search([("create_uid", "=", self.env.uid)]).unlink()
        self_sudo.create(
            [
                {
                    "name": item["label"],
                    "value": str(item["value"]),
                    "severity": item["severity"],
                    "hint": item.get("hint"),
                    "action": item.get("action"),
                }
                for item in self._get_health_items()
            ]
        )
        return self.env["ir.actions.actions"]._for_xml_id("customer_billing.billing_health_action")

    def action_drill_down(self):
        """Open the records behind this line."""
        self.ensure_one()
        if not self.action:
            return False
        action = self.env["ir.actions.actions"]._for_xml_id(self.action["xmlid"])
        return {
            **action,
            "name": self.name,
            "domain": self.action.get("domain", []),
            "context": self.action.get("context", {}),
        }

    @api.model
    def _get_health_items(self):
        """The lines of the health page, for the companies of the user. Modules extend the list.

        :return: list of dicts: ``label``; ``value``, a number or a text; ``severity``, one of
            ok, info, warning, danger; ``hint`` (optional), what to do; ``action`` (optional),
            a dict of ``xmlid`` (of a window action), ``domain`` and ``context``, all JSON
        """
        return [
            *self._get_night_items(),
            *self._get_run_items(),
            *self._get_bill_items(),
            *self._get_contract_items(),
            *self._get_exception_items(),
        ]

    @api.model
    def _count_item(self, label, domain, model, xmlid, hint, severity="warning", context=None):
        """A line that counts records: all right when there is none."""
        count = self.env[model].search_count(domain)
        return {
            "label": label,
            "value": count,
            "severity": severity if count else "ok",
            "hint": hint if count else "",
            "action": {
                "xmlid": f"customer_billing.{xmlid}",
                "domain": domain,
                "context": {"create": False, **(context or {})},
            },
        }

    @api.model
    def _get_limit(self, **ago):
        """A moment before now, as text for a domain."""
        return fields.Datetime.to_string(fields.Datetime.now() - timedelta(**ago))

    @api.model
    def _get_limit_day(self, days):
        return fields.Date.to_string(self.env.company._get_billing_today() - timedelta(days=days))

    @api.model
    def _get_night_items(self):
        """Whether the nightly job works at all."""
        # sudo: the time of the last call is no secret; jobs are read by administrators only
        cron_sudo = self.env.ref("customer_billing.ir_cron_nightly").sudo()
        late = not cron_sudo.active or (
            cron_sudo.lastcall or cron_sudo.create_date
        ) < fields.Datetime.now() - timedelta(hours=NIGHT_HOURS)
        return [
            {
                "label": self.env._("Nightly job last worked"),
                "value": format_datetime(self.env, cron_sudo.lastcall)
                if cron_sudo.lastcall
                else self.env._("Not yet"),
                "severity": "danger" if late else "ok",
                "hint": self.env._("An administrator looks at Scheduled Actions.") if late else "",
            }
        ]

    @api.model
    def _get_run_items(self):
        """The last run of each company, and jobs that do not go on."""
        companies = self.env.companies
        latest = self.env["billing.run"]._read_group(
            [("company_id", "in", companies.ids), ("state", "!=", "cancelled")],
            ["company_id"],
            ["id:max"],
        )
        runs = self.env["billing.run"].browse(run_id for _company, run_id in latest)
        states = dict(runs._fields["state"]._description_selection(self.env))
        items = [
            {
                "label": self.env._("Last run of %s", run.company_id.name),
                "value": self.env._(
                    "%(run)s: %(state)s, %(bills)s bills, %(held)s held or failed",
                    run=run.name,
                    state=states[run.state],
                    bills=run.bill_count,
                    held=run.held_count,
                ),
                "severity": "warning" if run.held_count else "info",
                "hint": self.env._("The lines of the run say why.") if run.held_count else "",
                "action": {
                    "xmlid": "customer_billing.billing_run_action",
                    "domain": [("id", "=", run.id)],
                },
            }
            for run in runs
        ]
        items.append(
            self._count_item(
                self.env._("Runs whose background job does not go on"),
                [("id", "in", self._get_stuck_runs().ids)],
                "billing.run",
                "billing_run_action",
                self.env._("An administrator looks at Scheduled Actions, “Billing: large runs”."),
                severity="danger",
            )
        )
        return items

    @api.model
    def _get_stuck_runs(self):
        """Runs with a job whose run, lines and bills have not changed for an hour."""
        limit = self._get_limit(hours=RUN_HOURS)
        runs = self.env["billing.run"].search(
            [
                ("company_id", "in", self.env.companies.ids),
                ("job", "!=", False),
                ("write_date", "<", limit),
            ]
        )
        for model, name in (("billing.run.line", "run_id"), ("account.move", "billing_run_id")):
            groups = self.env[model]._read_group(
                [(name, "in", runs.ids), ("write_date", ">=", limit)], [name]
            )
            runs -= runs.browse(run.id for [run] in groups)
        return runs

    @api.model
    def _get_bill_items(self):
        """Bills that were not delivered, and drafts that nobody decides on."""
        posted = [
            ("company_id", "in", self.env.companies.ids),
            ("billing_run_id", "!=", False),
            ("state", "=", "posted"),
        ]
        return [
            self._count_item(
                self.env._("Bills that could not be delivered"),
                [*posted, ("billing_delivery_state", "=", "failed")],
                "account.move",
                "account_move_action_bills",
                self.env._("Correct the address and send again, or mark as delivered."),
                severity="danger",
            ),
            self._count_item(
                self.env._("Bills that wait to be sent for more than a day"),
                [
                    *posted,
                    ("billing_delivery_state", "=", "queued"),
                    ("write_date", "<", self._get_limit(hours=DELIVERY_HOURS)),
                ],
                "account.move",
                "account_move_action_bills",
                self.env._("See the problem on the bill; is the mail server set up?"),
            ),
            self._count_item(
                self.env._("Bills to print and post"),
                [*posted, ("billing_delivery_state", "=", "print")],
                "account.move",
                "account_move_action_bills",
                self.env._("Print them, then mark them as delivered."),
                severity="info",
            ),
            self._count_item(
                self.env._("Draft bills that wait for more than %s days", APPROVAL_DAYS),
                [
                    ("company_id", "in", self.env.companies.ids),
                    ("billing_run_id", "!=", False),
                    ("state", "=", "draft"),
                    ("create_date", "<", self._get_limit(days=APPROVAL_DAYS)),
                ],
                "account.move",
                "account_move_action_bills",
                self.env._("Open their run: approve it, or decide its exceptions, then post."),
            ),
        ]

    @api.model
    def _get_contract_items(self):
        """Contracts that are due for long: no run takes them, or all runs fail."""
        return [
            self._count_item(
                self.env._("Contracts due for more than %s days", UNBILLED_DAYS),
                [
                    ("company_id", "in", self.env.companies.ids),
                    ("state", "!=", "draft"),
                    ("next_bill_date", "<", self._get_limit_day(UNBILLED_DAYS)),
                ],
                "billing.contract",
                "billing_contract_action",
                self.env._("Start a run for them; it says what is wrong with each."),
            ),
            self._count_item(
                self.env._("Usage of the last %s days that is never charged", USAGE_DAYS),
                [
                    ("company_id", "in", self.env.companies.ids),
                    ("date", ">=", self._get_limit_day(USAGE_DAYS)),
                    ("state", "=", "uncharged"),
                ],
                "billing.usage",
                "billing_usage_action",
                self.env._("Its days are paused, or were charged in another system: is that right?"),
            ),
        ]

    @api.model
    def _get_exception_items(self):
        """What waits for a person's decision."""
        is_open = [("company_id", "in", self.env.companies.ids), ("state", "=", "open")]
        today = self._get_limit_day(0)
        rows = (
            (
                self.env._("Open blocking exceptions"),
                [("severity", "=", "blocking")],
                self.env._("Their bills are held: correct them, or waive with a reason."),
                "danger",
            ),
            (
                self.env._("Exceptions past their due date"),
                [("date_due", "<", today)],
                self.env._("Remind the owner, or give them to somebody else."),
                "warning",
            ),
            (
                self.env._("Drift: amounts that no run would have billed"),
                [("check_id.code", "=", "drift")],
                self.env._("The next run bills them. Find out how it came about."),
                "warning",
            ),
        )
        return [
            self._count_item(
                label,
                [*is_open, *condition],
                "billing.exception",
                "billing_exception_action",
                hint,
                severity=severity,
            )
            for label, condition, hint, severity in rows
        ]
