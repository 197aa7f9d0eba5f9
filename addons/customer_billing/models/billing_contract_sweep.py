import logging

from odoo import api, fields, models
from odoo.tools import format_date, split_every

_logger = logging.getLogger(__name__)

SWEEP_LIMIT = 2000  # contracts compared in one night
SWEEP_SIZE = 100  # contracts compared together


class BillingContract(models.Model):  # pylint: disable=consider-merging-classes-inherited
    _inherit = "billing.contract"

    last_sweep_date = fields.Date(
        string="Compared On",
        readonly=True,
        copy=False,
        groups="base.group_user",
        help="The last night on which all that was ever charged was compared with the terms.",
    )

    _sweep_index = models.Index("(last_sweep_date NULLS FIRST, id) WHERE state <> 'draft'")

    @api.model
    def _cron_sweep(self):
        """Compare contracts with the ledger in full, those compared longest ago first.

        Each chunk is its own commit, so stopping anywhere loses at most one.
        """
        commit = self.env["ir.cron"]._commit_progress
        contracts = self.with_context(active_test=False).search(
            [("state", "!=", "draft")], order="last_sweep_date NULLS FIRST, id", limit=SWEEP_LIMIT
        )
        commit(remaining=len(contracts))
        for company_contracts in contracts.grouped("company_id").values():
            for ids in split_every(SWEEP_SIZE, company_contracts.ids):
                self.browse(ids)._sweep()
                if not commit(len(ids)):
                    return

    def _sweep(self):
        """Compare contracts of one company with the ledger, from the first day of their lines.

        Runs look at a line from ``recompute_from`` on and at a contract from ``next_bill_date``
        on. A difference outside of these is drift: no run would ever find it. It means that a
        write which changes what should be charged did not say so, or that the ledger was touched
        by hand. Drift is not billed here: the dates are set back, so that the next run bills it
        with its checks and approval, and an exception tells a person, who finds out how it came
        about and closes it. Contracts that another process works on are left for another night.
        """
        contracts = self.sudo().try_lock_for_update(allow_referencing=True)  # the engine's work
        if not contracts:
            return
        today = contracts._get_today()
        drift, errors = {}, {}
        for due in contracts._compute_due_in_full(today):
            if due.error:
                errors[due.contract] = due.error
            elif items := due.contract._get_drift(due.items, today):
                drift[due.contract] = items
        for contract, items in drift.items():
            contract._touch(min(item.difference.slot.start for item in items))
        exceptions = self.env["billing.exception"]
        exceptions._report("drift", {c: c._describe_drift(items) for c, items in drift.items()})
        exceptions._report("failed", errors)
        contracts.last_sweep_date = today
        if drift:
            _logger.warning("Drift in contracts: %s", ", ".join(c.name for c in drift))

    def _compute_due_in_full(self, until):
        """What the engine finds for contracts when it looks at each line from its first day on.

        The lines keep their ``recompute_from``: the engine sees another one in memory only.
        """
        lines = self.line_ids
        self.env.flush_all()
        lines.fetch(["recompute_from", "date_start"])
        field = lines._fields["recompute_from"]
        try:
            for line in lines:
                field._update_cache(line, line.date_start)
            return self.env["billing.engine"]._compute_due(self, until)
        finally:
            lines.invalidate_recordset(["recompute_from"], flush=False)

    def _get_drift(self, items, today):
        """Those of ``items`` that no run would find."""
        self.ensure_one()
        is_due = self.next_bill_date and self.next_bill_date <= today
        return [
            item
            for item in items
            if item.amount
            and item.difference
            and not (is_due and item.difference.slot.start >= item.line._get_looked_at_from())
        ]

    def _describe_drift(self, items):
        """The periods and amounts that no run would have found, as a sentence."""
        self.ensure_one()
        texts = [
            f"{item.line.name}, {format_date(self.env, item.period_start)} – "
            f"{format_date(self.env, item.period_end)}: "
            f"{self.currency_id.format(float(item.amount))}"
            for item in items
        ]
        return self.env._("No run would have billed: %s.", "; ".join(texts))
