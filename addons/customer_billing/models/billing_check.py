import logging
from collections import Counter, defaultdict
from datetime import timedelta

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError, ValidationError
from odoo.tools import SQL, format_date

from ..tools import dates

_logger = logging.getLogger(__name__)

MIN_HISTORY = 3  # bills that a mean needs to mean something
DAY = timedelta(days=1)


class BillingCheck(models.Model):
    """One question asked of every bill before it is posted, or of a contract before it starts, kept as data.

    A module adds a check with a record and a method ``_check_<code>(moves, params)``.
    """

    _name = "billing.check"
    _description = "Billing Check"
    _inherit = ["mail.thread"]  # who switched it off, or raised its limit, is on record
    _order = "sequence, id"

    name = fields.Char(required=True, translate=True)
    code = fields.Char(required=True, help="Names the method that does the check.")
    sequence = fields.Integer(default=10)
    description = fields.Text(translate=True)
    source = fields.Selection(
        [
            ("bill", "Asked of every bill"),
            ("contract", "Asked before a contract is activated"),
            ("event", "Reported by the system"),
        ],
        default="bill",
        required=True,
        readonly=True,
    )
    severity = fields.Selection(
        [("off", "Off"), ("warning", "Warning"), ("blocking", "Blocking")],
        default="warning",
        required=True,
        tracking=True,
        help="Off: not asked. Warning: a second person approves the bill, where approval is "
        "switched on. Blocking: the bill is held until the exception is solved or waived. Before a contract is "
        "activated a warning asks for confirmation, and a blocking check refuses.",
    )
    parameter = fields.Float(string="Value", digits=(16, 2), tracking=True)
    parameter_label = fields.Char(string="Meaning of the Value", translate=True, readonly=True)
    count = fields.Integer(string="Count", tracking=True)
    count_label = fields.Char(string="Meaning of the Number", translate=True, readonly=True)
    due_days = fields.Integer(
        string="Days to Solve", default=3, help="From the day the exception is found."
    )
    company_id = fields.Many2one(
        "res.company",
        tracking=True,
        help="Empty: for all companies. A check of a company takes the place of the one for all.",
    )
    active = fields.Boolean(default=True, tracking=True)

    _code_unique = models.UniqueIndex(
        "(code, COALESCE(company_id, 0))",
        "This check exists already. A copy is for another company.",
    )
    _parameters_positive = models.Constraint(
        "CHECK (parameter >= 0 AND count >= 0 AND due_days >= 0)",
        "The values of a check are not negative.",
    )

    def write(self, vals):
        # What the API says about tracking does not count: who switched a check off is on record.
        return super(BillingCheck, self.with_context(tracking_disable=False, mail_notrack=False)).write(vals)

    def copy_data(self, default=None):
        default = {"company_id": self.env.company.id, **(default or {})}
        return super().copy_data(default)

    @api.constrains("code", "source")
    def _check_has_method(self):
        for check in self.filtered(lambda check: check.source in ("bill", "contract")):
            if not check._get_method():
                raise ValidationError(
                    self.env._("No installed module knows how to check “%s”.", check.code)
                )

    def _get_method(self):
        """The method of this check, or None when the module that brought it is gone."""
        name = f"_check_{self.code}"
        return None if hasattr(models.BaseModel, name) else getattr(self, name, None)

    # Run

    @api.model
    def _get_checks(self, company, source="bill"):
        """The checks of ``company``: its own, and those for all that it has no own one for.

        :param source: ``bill``, ``event``, or None for all
        """
        domain = [("company_id", "in", (False, company.id))]
        if source:
            domain.append(("source", "=", source))
        found = self.sudo().search(domain)  # configuration, the same for whoever runs it
        own = found.filtered("company_id")
        return own | found.filtered(lambda check: check.code not in own.mapped("code"))

    @api.model
    def _get_event(self, code, company):
        """The record for an exception about a contract that the system reports, e.g. ``failed``."""
        return self._get_checks(company, None).filtered(lambda check: check.code == code)[:1]

    @api.model
    def _run_checks(self, moves):
        """Ask all checks of ``moves``; writes nothing.

        The number of queries does not depend on the number of bills.

        :return: {(move, check): message}, messages in the language of the company, so that they
            are the same whoever asks
        """
        findings = {}
        self.env.flush_all()
        # A set of its own: what one bill loads is loaded for all of them.
        moves = self.env["account.move"].browse(moves.ids)
        for company, company_moves in moves.grouped("company_id").items():
            # sudo: what a check finds does not depend on who asks
            checks_sudo = self.sudo().with_company(company).with_context(
                lang=company.sudo().partner_id.lang or self.env.lang
            )
            moves_sudo = checks_sudo.env["account.move"].browse(company_moves.ids)
            moves_sudo.invoice_line_ids.billing_charge_ids.fetch(["contract_line_id"])
            checks_sudo = checks_sudo._get_checks(company).filtered(lambda c: c.severity != "off")
            for check, found in checks_sudo._run_together(moves_sudo).items():
                for move, message in found.items():
                    findings[move.with_env(self.env), check.with_env(self.env)] = message
        return findings

    def _run_together(self, moves):
        """Do these checks; when one breaks, each by itself."""
        try:
            with self.env.cr.savepoint(flush=False):
                return {check: check._call_method(moves) for check in self}
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:  # a broken check must not stop the others
            _logger.info("Checks are done one by one: %s", error)
            return {check: check._run_alone(moves) for check in self}

    def _run_alone(self, moves):
        """Do one check. A check that breaks has not been passed, and stops nobody."""
        try:
            with self.env.cr.savepoint(flush=False):
                return self._call_method(moves)
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:
            _logger.exception("The check %s could not be done", self.code)
            message = self.env._("This check could not be done: %s", error)
            return dict.fromkeys(moves, message)

    def _call_method(self, moves):
        method = self._get_method()
        params = {"parameter": self.parameter, "count": self.count}
        return method(moves, params) if method else {}

    # Checks: ``moves`` are bills of one company, as superuser; return {move: message}

    @api.model
    def _check_zero_negative(self, moves, params):
        """The bill is zero, or a credit note."""
        found = {}
        for move in moves:
            if move.currency_id.is_zero(move.amount_total):
                found[move] = self.env._("The total is zero.")
            elif move.move_type == "out_refund":
                found[move] = self.env._(
                    "The total is negative: a credit note of %s.",
                    move.currency_id.format(move.amount_total),
                )
        return found

    @api.model
    def _check_deviation(self, moves, params):
        """The total is far from the mean of the last bills of the same contracts.

        Credit notes are not compared, and nothing is before there are three earlier bills: the
        first one is often for part of a period only.
        """
        rows = self.env.execute_query(
            SQL(
                """
                SELECT m.id, AVG(h.amount_total), COUNT(*)
                  FROM account_move m
            CROSS JOIN LATERAL (
                    SELECT p.id, p.amount_total
                      FROM account_move p
                     WHERE p.id IN (
                            SELECT other.move_id
                              FROM billing_contract_move_rel mine
                              JOIN billing_contract_move_rel other
                                ON other.contract_id = mine.contract_id
                             WHERE mine.move_id = m.id)
                       AND p.id < m.id
                       AND p.state = 'posted'
                       AND p.move_type = 'out_invoice'
                       AND p.currency_id = m.currency_id
                       AND p.billing_run_id IS DISTINCT FROM m.billing_run_id
                  ORDER BY p.invoice_date DESC, p.id DESC
                     LIMIT %s) h
                 WHERE m.id IN %s AND m.move_type = 'out_invoice'
              GROUP BY m.id
                """,
                params["count"] or 1,
                tuple(moves.ids),
            )
        )
        found = {}
        for move_id, mean, count in rows:
            move = moves.browse(move_id)
            mean = float(mean)
            if count < min(MIN_HISTORY, params["count"]) or not mean:
                continue
            deviation = (move.amount_total - mean) / mean * 100
            if abs(deviation) > params["parameter"]:
                found[move] = self.env._(
                    "%(total)s is %(percent)s %% from %(mean)s, the mean of the last %(count)s "
                    "bills.",
                    total=move.currency_id.format(move.amount_total),
                    percent=f"{deviation:+.0f}",
                    mean=move.currency_id.format(mean),
                    count=count,
                )
        return found

    @api.model
    def _check_duplicate(self, moves, params):
        """All lines are, for the same periods and amounts, on another posted bill.

        A bill made by hand (a copy) counts, one that was credited does not; adjustments of
        earlier bills are no duplicates.
        """
        rows = self.env.execute_query(
            SQL(
                """
                  WITH mine AS (
                SELECT l.id, l.move_id, m.commercial_partner_id, m.company_id, m.currency_id,
                       m.move_type, l.product_id, l.billing_period_start,
                       l.billing_period_end, l.price_subtotal, c.contract_line_id,
                       c.revision, COUNT(*) OVER (PARTITION BY l.move_id) AS lines
                  FROM account_move_line l
                  JOIN account_move m ON m.id = l.move_id
             LEFT JOIN billing_charge c ON c.move_line_id = l.id AND c.state <> 'void'
                 WHERE l.move_id IN %s AND l.display_type = 'product')
                SELECT mine.move_id, other.move_id
                  FROM mine
                  JOIN account_move_line other
                    ON other.product_id = mine.product_id
                   AND other.billing_period_start = mine.billing_period_start
                   AND other.billing_period_end = mine.billing_period_end
                   AND other.price_subtotal = mine.price_subtotal
                   AND other.parent_state = 'posted'
                   AND other.move_id <> mine.move_id
                  JOIN account_move m
                    ON m.id = other.move_id
                   AND m.commercial_partner_id = mine.commercial_partner_id
                   AND m.company_id = mine.company_id
                   AND m.currency_id = mine.currency_id
                   AND m.move_type = mine.move_type
                   AND COALESCE(m.payment_state, '') <> 'reversed'
             LEFT JOIN billing_charge c ON c.move_line_id = other.id AND c.state <> 'void'
                 WHERE mine.revision = 0
                   AND (c.id IS NULL OR c.contract_line_id = mine.contract_line_id)
              GROUP BY mine.move_id, other.move_id
                HAVING COUNT(DISTINCT mine.id) = MAX(mine.lines)
              ORDER BY mine.move_id, other.move_id
                """,
                tuple(moves.ids),
            )
        )
        others = self.env["account.move"].union(*(moves.browse(other) for _move, other in rows))
        others.fetch(["name"])
        return {
            moves.browse(move_id): self.env._(
                "The same lines for the same periods are on %s.", moves.browse(other_id).name
            )
            for move_id, other_id in rows
        }

    @api.model
    def _check_missing_tax(self, moves, params):
        """A line without tax, in a company that charges taxes, for a customer whose fiscal
        position does not say so."""
        found = {}
        for move in moves:
            if move.fiscal_position_id or not move.company_id.account_sale_tax_id:
                continue
            bare = self._get_item_lines(move).filtered(
                lambda line: line.price_subtotal and not line.tax_ids
            )
            if bare:
                found[move] = self.env._("No tax on: %s.", self._join(bare.product_id))
        return found

    @api.model
    def _check_missing_email(self, moves, params):
        """The bill goes to nobody."""
        recipients = moves.partner_id._map_billing_recipients("billing")
        return {
            move: self.env._("%s has no e-mail address.", move.partner_id.display_name)
            for move in moves
            if move._get_delivery_channel() == "email" and not recipients[move.partner_id]
        }

    @api.model
    def _check_missing_vat(self, moves, params):
        """The customer is a company without tax number."""
        return {
            move: self.env._("%s has no tax number.", move.commercial_partner_id.display_name)
            for move in moves
            if move.commercial_partner_id.is_company and not move.commercial_partner_id.vat
        }

    @api.model
    def _check_archived_product(self, moves, params):
        """A charge item that is not sold any more."""
        found = {}
        for move in moves:
            archived = self._get_item_lines(move).product_id.filtered(lambda p: not p.active)
            if archived:
                found[move] = self.env._("Archived: %s.", self._join(archived))
        return found

    @api.model
    def _check_price_off_list(self, moves, params):
        """The price of a line is far from the published one of the day the line started.

        Asked on the first bill of a line: what was accepted then is not asked every month.
        """
        lines = moves.invoice_line_ids.billing_charge_ids.contract_line_id
        billed = self._get_billed_lines(lines, moves)
        published = self._get_published_prices(lines - billed)
        found = {}
        for move in moves:
            texts = []
            for line in move.invoice_line_ids.billing_charge_ids.contract_line_id:
                price = published.get(line)
                if not price or not price.unit_amount:
                    continue
                percent = (line.price_unit - price.unit_amount) / price.unit_amount * 100
                if abs(percent) > params["parameter"]:
                    texts.append(
                        self.env._(
                            "%(line)s: %(price)s, published %(published)s (%(percent)s %%)",
                            line=line.name,
                            price=line.currency_id.format(line.price_unit),
                            published=line.currency_id.format(price.unit_amount),
                            percent=f"{percent:+.0f}",
                        )
                    )
            if texts:
                found[move] = "; ".join(texts)
        return found

    @api.model
    def _get_billed_lines(self, lines, moves):
        """Those contract lines that are on a posted bill other than ``moves``."""
        groups = self.env["billing.charge"]._read_group(
            [
                ("contract_line_id", "in", lines.ids),
                ("state", "=", "billed"),
                ("move_line_id.move_id", "not in", moves.ids),
                ("move_line_id.parent_state", "=", "posted"),
            ],
            ["contract_line_id"],
        )
        return lines.browse(line.id for [line] in groups)

    @api.model
    def _get_published_prices(self, lines):
        """{contract line: the published price with one amount, valid on its first day}."""
        prices = self.env["billing.price"].search(
            [
                ("active", "=", True),
                ("product_id", "in", lines.product_id.ids),
                ("currency_id", "in", lines.currency_id.ids),
                ("company_id", "in", (False, *lines.company_id.ids)),
            ],
            order="company_id, date_from desc, id desc",
        )
        by_product = prices.grouped("product_id")
        found = {}
        for line in lines:
            candidates = by_product.get(line.product_id, prices.browse()).filtered(
                lambda price, line=line: price.currency_id == line.currency_id
                and price.date_from <= line.date_start
                and (not price.date_to or price.date_to >= line.date_start)
            )
            price = candidates & line.price_id or candidates[:1]
            if price.pricing_model in ("flat", "per_unit", "package", "percentage"):
                found[line] = price
        return found

    @api.model
    def _check_stale_rate(self, moves, params):
        """The rate of a foreign currency is old."""
        foreign = moves.filtered(lambda move: move.currency_id != move.company_currency_id)
        found = {}
        today = moves.company_id._get_billing_today()
        for date, same_day in foreign.grouped(lambda move: move.invoice_date or today).items():
            last_dates = dict(
                self.env["res.currency.rate"]._read_group(
                    [
                        ("currency_id", "in", same_day.currency_id.ids),
                        ("company_id", "in", (False, same_day.company_id.root_id.id)),
                        ("name", "<=", date),
                    ],
                    ["currency_id"],
                    ["name:max"],
                )
            )
            for move in same_day:
                last = last_dates.get(move.currency_id)
                if not last:
                    found[move] = self.env._("%s has no rate.", move.currency_id.name)
                elif (date - last).days > params["count"]:
                    found[move] = self.env._(
                        "The rate of %(currency)s is of %(date)s.",
                        currency=move.currency_id.name,
                        date=format_date(self.env, last),
                    )
        return found

    @api.model
    def _check_gap(self, moves, params):
        """Days between the last charged period of a line and this one that are not charged, not
        paused and not before a migration."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT l.move_id, c.contract_line_id, c.slot_start,
                       (SELECT p.trace->'slot'->>1
                          FROM billing_charge p
                         WHERE p.contract_line_id = c.contract_line_id
                           AND p.kind = c.kind
                           AND p.slot_start < c.slot_start
                           AND p.state <> 'void'
                      ORDER BY p.slot_start DESC, p.revision
                         LIMIT 1)
                  FROM account_move_line l
                  JOIN billing_charge c ON c.move_line_id = l.id AND c.state <> 'void'
                 WHERE l.move_id IN %s AND c.kind = 'recurring' AND c.revision = 0
                """,
                tuple(moves.ids),
            )
        )
        lines = self.env["billing.contract.line"].browse(line_id for _m, line_id, _s, _e in rows)
        gaps = defaultdict(list)
        for move_id, line_id, start, last_end in rows:
            line = lines.browse(line_id).with_prefetch(lines.ids)
            begin = fields.Date.to_date(last_end) or line.date_start
            if begin >= start or not line.price_subtotal:
                continue  # periods of nothing need no charge
            for first, end in dates.subtract([(begin, start)], line._get_terms().holes):
                gaps[moves.browse(move_id)].append(
                    f"{line.name}: {format_date(self.env, first)} – "
                    f"{format_date(self.env, end - DAY)}"
                )
        return {
            move: self.env._("Neither charged nor paused: %s.", "; ".join(texts))
            for move, texts in gaps.items()
        }

    @api.model
    def _check_usage_missing(self, moves, params):
        """Usage that is due, and no record of it: not even one of zero.

        What was reported when it was noted without a bill is not told again.
        """
        rows = self.env.execute_query(
            SQL(
                """
                SELECT c.id
                  FROM account_move_line l
                  JOIN billing_charge c ON c.move_line_id = l.id AND c.state <> 'void'
                 WHERE l.move_id IN %s
                   AND NOT EXISTS (
                        SELECT FROM billing_exception e
                          JOIN billing_check k ON k.id = e.check_id AND k.code = 'usage_missing'
                         WHERE e.contract_id = c.contract_id
                           AND e.move_id IS NULL
                           AND e.write_date >= c.create_date)
                """,
                tuple(moves.ids),
            )
        )
        charges = self.env["billing.charge"].browse(charge_id for [charge_id] in rows)
        by_contract = self._get_missing_usage(charges)
        found = {}
        for move in moves:
            texts = [by_contract[c] for c in move.billing_contract_ids if c in by_contract]
            if texts:
                found[move] = " ".join(texts)
        return found

    @api.model
    def _get_missing_usage(self, charges):
        """{contract: message} of the first entries among ``charges`` for usage without a record.

        Records of the lines before and after an amendment count: a meter is read once a period.
        """
        if not charges:
            return {}
        rows = self.env.execute_query(
            SQL(
                """
                SELECT c.id
                  FROM billing_charge c
                  JOIN billing_contract_line l ON l.id = c.contract_line_id
                 WHERE c.id IN %s AND c.kind = 'usage' AND c.revision = 0 AND c.state <> 'void'
                   AND NOT EXISTS (
                        SELECT FROM billing_usage u
                          JOIN billing_contract_line n ON n.id = u.contract_line_id
                         WHERE (n.id IN (l.id, l.previous_line_id) OR n.previous_line_id = l.id)
                           AND u.contract_id = c.contract_id
                           AND u.date >= (c.trace -> 'period' ->> 0)::date
                           AND u.date < (c.trace -> 'period' ->> 1)::date)
              ORDER BY c.contract_line_id, c.slot_start
                """,
                tuple(charges.ids),
            )
        )
        missing = charges.browse(charge_id for [charge_id] in rows).with_prefetch(charges.ids)
        return {
            contract: self.env._(
                "No usage recorded: %s.", "; ".join(found.mapped("display_name"))
            )
            for contract, found in missing.grouped("contract_id").items()
        }

    @api.model
    def _check_many_lines(self, moves, params):
        """More lines than any sensible bill: something runs away."""
        return {
            move: self.env._("The bill has %s lines.", len(self._get_item_lines(move)))
            for move in moves
            if len(self._get_item_lines(move)) > params["count"]
        }

    # Helpers for checks

    @api.model
    def _get_item_lines(self, move):
        """The lines of a bill that charge for something."""
        lines = move.invoice_line_ids
        items = lines.filtered(lambda line: line.display_type == "product")
        return items.with_prefetch(lines._prefetch_ids)  # load for all bills at once

    @api.model
    def _join(self, records):
        """The names of ``records`` in a sentence, each once."""
        return ", ".join(Counter(records.mapped("display_name")))
