from odoo import http
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.fields import Domain
from odoo.http import content_disposition, request
from odoo.tools import format_date

from odoo.addons.account.controllers.portal import PortalAccount
from odoo.addons.customer_billing.tools.upload import FILE_TYPES, MAX_FILE_BYTES, MAX_FILES
from odoo.addons.portal.controllers.portal import pager as portal_pager

from ..models.billing_statement_answer import PORTAL_STATES

LINES_PER_PAGE = 100
SHOWN_PROBLEMS = 50
MEGABYTE = 1024 * 1024
MAX_LEDGER_BYTES = 10 * MEGABYTE
TYPES = {
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
NOTICES = ("confirmed", "disputed")


class StatementPortal(PortalAccount):
    """Statements of account: the customer reads, confirms, objects, pays, uploads his ledger."""

    def _prepare_home_portal_values(self, counters):
        values = super()._prepare_home_portal_values(counters)
        statements = request.env["billing.statement"]
        if "statement_count" in counters:
            readable = statements.has_access("read")
            domain = self._get_statements_domain()
            values["statement_count"] = statements.search_count(domain, limit=1) if readable else 0
        return values

    # List

    def _get_statements_domain(self):
        """The statements that the portal lists; the record rules say whose they are.

        Staff who look at the portal see their own, as a customer would.
        """
        partner = request.env.user.partner_id.commercial_partner_id
        return [("state", "in", PORTAL_STATES), ("partner_id", "=", partner.id)]

    def _get_statement_searchbar_sortings(self):
        return {
            "date": {"label": request.env._("Newest"), "order": "date_to desc, id desc"},
            "due": {"label": request.env._("Answer by"), "order": "date_due, id desc"},
            "name": {"label": request.env._("Number"), "order": "name desc, id desc"},
            "balance": {"label": request.env._("Balance"), "order": "balance_close desc, id desc"},
        }

    def _get_statement_searchbar_filters(self):
        labels = {
            "all": request.env._("All"),
            "answer": request.env._("To answer"),
            "confirmed": request.env._("Confirmed"),
            "disputed": request.env._("With objections"),
        }
        states = {"answer": "sent", "confirmed": "confirmed", "disputed": "disputed"}
        return {
            name: {"label": label, "domain": [("state", "=", states[name])] if name in states else []}
            for name, label in labels.items()
        }

    @http.route(
        ["/my/statements", "/my/statements/page/<int:page>"],
        type="http",
        auth="user",
        website=True,
        readonly=True,
    )
    def portal_my_statements(self, page=1, sortby=None, filterby=None, **kw):
        statements = request.env["billing.statement"]
        readable = statements.has_access("read")
        sortings, filters = (
            self._get_statement_searchbar_sortings(),
            self._get_statement_searchbar_filters(),
        )
        sortby = sortby if sortby in sortings else "date"
        filterby = filterby if filterby in filters else "all"
        domain = Domain(self._get_statements_domain()) & Domain(filters[filterby]["domain"])
        pager = portal_pager(
            url="/my/statements",
            url_args={"sortby": sortby, "filterby": filterby},
            total=statements.search_count(domain) if readable else 0,
            page=page,
            step=self._items_per_page,
        )
        if readable:
            statements = statements.search(
                domain, order=sortings[sortby]["order"], limit=self._items_per_page, offset=pager["offset"]
            )
        request.session["my_statements_history"] = statements.ids[:100]
        return request.render(
            "customer_billing_statement.portal_my_statements",
            {
                **self._prepare_portal_layout_values(),
                "page_name": "statement",
                "statements": statements,
                "default_url": "/my/statements",
                "pager": pager,
                "searchbar_sortings": sortings,
                "sortby": sortby,
                "searchbar_filters": filters,
                "filterby": filterby,
            },
        )

    # One statement

    def _statement_check_access(self, statement_id, access_token=None):
        """The statement (sudo, as the visitor) if he may see it by his own rights or by a token.

        :raises AccessError, MissingError: he may not, or it was not issued
        """
        statement_sudo = self._document_check_access("billing.statement", statement_id, access_token)
        if statement_sudo.state not in PORTAL_STATES:
            raise MissingError(request.env._("This document does not exist."))
        # sudo: access was checked. Who acts stays the visitor.
        return request.env["billing.statement"].sudo().browse(statement_sudo.id)

    @http.route(
        ["/my/statements/<int:statement_id>", "/my/statements/<int:statement_id>/page/<int:page>"],
        type="http",
        auth="public",
        website=True,
    )
    def portal_my_statement(self, statement_id, access_token=None, page=1, message=None, **kw):
        try:
            statement_sudo = self._statement_check_access(statement_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        if not request.env.user._is_internal():
            statement_sudo._note_opened()
        values = self._statement_get_page_view_values(statement_sudo, access_token, page, **kw)
        values["notice"] = message if message in NOTICES else None
        return request.render("customer_billing_statement.portal_statement_page", values)

    def _statement_get_page_view_values(self, statement_sudo, access_token, page=1, **kwargs):
        """Values of the page of a statement. Override to add values."""
        is_member = self._is_member(statement_sudo)
        answers = not request.env.user._is_internal()
        disputes = statement_sudo.dispute_ids.sorted("id")
        values = {
            **self._get_statement_lines_values(statement_sudo, access_token, page),
            "page_name": "statement",
            "statement": statement_sudo,
            "res_company": statement_sudo.company_id,  # its logo
            "is_member": is_member,
            "may_confirm": answers and not statement_sudo._get_confirm_problem(),
            "may_dispute": answers and statement_sudo._may_be_disputed(),
            "may_upload": answers and statement_sudo.state != "superseded",
            "is_late": bool(
                statement_sudo.date_due
                and statement_sudo.date_due < statement_sudo.company_id._get_billing_today()
            ),
            "bands": self._get_statement_bands(statement_sudo),
            "changes": statement_sudo._describe_changes(statement_sudo.changes or []),
            "disputes": disputes,
            "files": statement_sudo._get_objection_files(),
            "texts": self._get_statement_texts(statement_sudo),
            "figures": {
                dispute.id: request.env._(
                    "our figure %(ours)s, yours %(theirs)s",
                    ours=dispute.currency_id.format(dispute.our_amount),
                    theirs=dispute.currency_id.format(dispute.claimed_amount),
                )
                for dispute in disputes
            },
            "payment": answers and is_member and self._get_statement_payment(statement_sudo),
            "successor": statement_sudo.superseded_by_id,
            "successor_shown": is_member and statement_sudo.superseded_by_id.state in PORTAL_STATES,
            "signer_name": "" if request.env.user._is_public() else request.env.user.name,
            "url": self._get_statement_url_maker(statement_sudo, access_token),
            "backend_url": f"/odoo/billing.statement/{statement_sudo.id}",
        }
        values = self._get_page_view_values(
            statement_sudo, access_token, values, "my_statements_history", False, **kwargs
        )
        if request.env.user.share and not access_token:
            values["token"] = statement_sudo._portal_ensure_token()  # to post messages
        return values

    def _get_statement_texts(self, statement):
        """Sentences with amounts, dates and names: {name: text}."""
        env, money = request.env, statement.currency_id.format
        date, balance = format_date(env, statement.date_to), money(statement.balance_close)
        successor = statement.superseded_by_id.name or ""
        return {
            "request": env._(
                "Does your account with us come to %(balance)s on %(date)s? If so, confirm it. If not, "
                "report what differs.",
                balance=balance,
                date=date,
            ),
            "answer_by": env._("Please answer by %s.", format_date(env, statement.date_due)),
            "sign": env._(
                "By signing you confirm for %(customer)s that the balance on %(date)s is %(balance)s. "
                "Your name, signature, the time and your IP address are recorded.",
                customer=statement.partner_id.name,
                date=date,
                balance=balance,
            ),
            "unallocated": env._(
                "Of this, %s were paid or credited and are not matched to a bill yet.",
                money(statement.amount_unallocated),
            ),
            "changed": env._("What changed since %s", statement.supersedes_id.name or ""),
            "successor": env._("Statement %s has taken its place; we have sent it to you.", successor),
        }

    def _is_member(self, statement):
        """Whether the visitor reads the statement by his own rights: a link with a token opens it
        alone, and nothing beside it."""
        return statement.sudo(False).has_access("read")

    def _get_statement_url_maker(self, statement, access_token):
        """A function that makes addresses under the one of the statement, for this visitor."""

        def make(suffix="", **query):
            if access_token:
                query["access_token"] = access_token
            text = "&".join(f"{key}={value}" for key, value in query.items())
            return f"{statement.access_url}{suffix}{'?' if text else ''}{text}"

        return make

    def _get_statement_lines_values(self, statement, access_token, page):
        """The lines of one page of the statement, with the documents that the visitor may open."""
        lines_sudo = request.env["billing.statement.line"].sudo()  # of a readable statement
        domain = [("statement_id", "=", statement.id)]
        total = lines_sudo.search_count(domain)
        pager = portal_pager(
            url=statement.access_url,
            url_args={"access_token": access_token} if access_token else {},
            total=total,
            page=page,
            step=LINES_PER_PAGE,
        )
        lines = lines_sudo.search(
            domain, order="sequence, id", limit=LINES_PER_PAGE, offset=pager["offset"]
        )
        return {
            "lines": lines,
            "line_count": total,
            "pager": pager if pager["page_count"] > 1 else None,
            "line_page": pager["page"]["num"],
            "line_pages": pager["page_count"],
            "kinds": dict(lines_sudo._fields["kind"]._description_selection(request.env)),
            "documents": self._get_documents(statement, lines),
            "disputed_lines": statement.dispute_ids.filtered(lambda d: d.state == "open").statement_line_id,
        }

    def _get_documents(self, statement, lines):
        """The bills of ``lines`` that the visitor may open by his own rights: {id: address}."""
        if not self._is_member(statement) or not request.env["account.move"].has_access("read"):
            return {}
        ids = lines.filtered(lambda line: line.kind in ("invoice", "refund")).move_id.ids
        moves = request.env["account.move"].search([("id", "in", ids), ("move_type", "like", "out_")])
        return {move.id: f"/my/invoices/{move.id}" for move in moves}

    def _get_statement_bands(self, statement):
        """The age bands: list of (label, amount, width of its bar in percent)."""
        amounts = statement._get_buckets()
        whole = sum(amount for amount in amounts if amount > 0)
        return [
            (label, amount, round(100 * amount / whole) if amount > 0 else 0)
            for label, amount in zip(statement._get_bucket_labels(), amounts, strict=True)
        ]

    # Pay

    def _get_statement_payment(self, statement):
        """Where the visitor pays what is open now: a dict with ``url`` and ``text``, or None when
        nothing is open or there is no address."""
        moves = request.env["account.move"]
        if not moves.has_access("read"):
            return None
        open_moves = moves.search(
            [
                ("move_type", "in", ("out_invoice", "out_receipt")),
                ("state", "=", "posted"),
                ("payment_state", "in", ("not_paid", "partial")),
                ("commercial_partner_id", "=", statement.partner_id.id),
                ("company_id", "=", statement.company_id.id),
                ("currency_id", "=", statement.currency_id.id),
            ],
            order="invoice_date_due, id",
        )
        url = open_moves and self._get_open_bills_url(open_moves)
        if not url:
            return None
        count, amount = len(open_moves), sum(open_moves.mapped("amount_residual"))
        amount = statement.currency_id.format(amount)
        if count == 1:
            text = request.env._("One bill is open now: %s", amount)
        else:
            text = request.env._("%(count)s bills are open now: %(amount)s", count=count, amount=amount)
        return {"url": url, "text": text}

    def _get_open_bills_url(self, moves):
        """Where these bills are paid: where the bills say; several that have no common page on
        Odoo's page of overdue bills if that is about just these, else one by one from the list."""
        url = moves._get_payment_url()
        if len(moves) == 1 or url != moves[0]._get_billing_url():
            return url
        if "account_payment" in request.env["ir.module.module"]._installed():
            overdue = moves.search(self._get_overdue_invoices_domain())
            if set(overdue.ids) == set(moves.ids):
                return "/my/invoices/overdue"
        return "/my/invoices?sortby=duedate&filterby=invoices"

    # Files

    @http.route(
        "/my/statements/<int:statement_id>/<any(pdf,xlsx):kind>", type="http", auth="public", readonly=True
    )
    def portal_statement_file(self, statement_id, kind, access_token=None, **kw):
        """The file that was issued, never another one."""
        try:
            statement_sudo = self._statement_check_access(statement_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        content = statement_sudo._get_file(kind)
        if not content:
            raise request.not_found()
        return self._send_file(content, statement_sudo[f"{kind}_name"], TYPES[kind])

    @http.route(
        "/my/statements/<int:statement_id>/files/<int:file_id>", type="http", auth="public", readonly=True
    )
    def portal_statement_objection_file(self, statement_id, file_id, access_token=None, **kw):
        """A file that the customer sent, to be saved, never to be shown."""
        try:
            statement_sudo = self._statement_check_access(statement_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        file_sudo = statement_sudo._get_objection_files().filtered(lambda file: file.id == file_id)
        if not file_sudo:
            raise request.not_found()
        return self._send_file(file_sudo.raw, file_sudo.name, "application/octet-stream")

    def _send_file(self, content, name, mimetype):
        return request.make_response(
            content,
            [
                ("Content-Type", mimetype),
                ("Content-Length", len(content)),
                ("Content-Disposition", content_disposition(name)),
                ("X-Content-Type-Options", "nosniff"),
                ("Content-Security-Policy", "default-src 'none'; sandbox"),
            ],
        )

    # Answer

    @http.route("/my/statements/<int:statement_id>/accept", type="jsonrpc", auth="public", website=True)
    def portal_statement_accept(self, statement_id, access_token=None, name=None, signature=None):
        # as the signature form of the portal sends it
        access_token = access_token or request.httprequest.args.get("access_token")
        try:
            statement_sudo = self._statement_check_access(statement_id, access_token)
        except (AccessError, MissingError):
            return {"error": request.env._("This statement is not here any more.")}
        try:
            with request.env.cr.savepoint():  # all or nothing
                statement_sudo._confirm_from_portal(name, signature)
        except UserError as error:
            return {"error": str(error)}
        url = self._get_statement_url_maker(statement_sudo, access_token)
        return {"force_refresh": True, "redirect_url": url(message="confirmed")}

    @http.route(
        "/my/statements/<int:statement_id>/dispute",
        type="http",
        auth="public",
        website=True,
        methods=["GET", "POST"],
        max_content_length=MAX_FILES * MAX_FILE_BYTES + MEGABYTE,
    )
    def portal_statement_dispute(self, statement_id, access_token=None, page=1, **form):
        try:
            statement_sudo = self._statement_check_access(statement_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        url = self._get_statement_url_maker(statement_sudo, access_token)
        errors = {}
        if request.httprequest.method == "POST":
            try:
                with request.env.cr.savepoint():  # all or nothing
                    disputes, errors = statement_sudo._dispute_from_portal(
                        {key: value for key, value in form.items() if isinstance(value, str)},
                        self._get_uploads("files", MAX_FILES),
                    )
            except UserError as error:
                disputes, errors = None, {"what": str(error)}
            if disputes:
                target = url(message="disputed") + "#objections"
                return self._answer_form({"redirect": target}) or request.redirect(target)
            if answer := self._answer_form({"errors": errors}):
                return answer
        elif not statement_sudo._may_be_disputed():
            return request.redirect(url())
        values = self._statement_get_page_view_values(statement_sudo, access_token, self._to_int(page))
        values.update(
            {
                "prev_record": None,  # of statements, not of forms
                "next_record": None,
                "page_name": "statement_dispute",
                "form": form,
                "errors": errors,
                "reasons": request.env["billing.dispute"]._fields["reason"]._description_selection(request.env),
                "file_types": ",".join(f".{name}" for name in FILE_TYPES),
                "files_help": request.env._(
                    "At most %(count)s files of %(size)s MB: PDF, pictures, text, spreadsheets, e-mails.",
                    count=MAX_FILES,
                    size=MAX_FILE_BYTES // MEGABYTE,
                ),
            }
        )
        return request.render("customer_billing_statement.portal_statement_dispute", values)

    @http.route(
        "/my/statements/<int:statement_id>/ledger",
        type="http",
        auth="public",
        website=True,
        methods=["GET", "POST"],
        max_content_length=MAX_LEDGER_BYTES + MEGABYTE,
    )
    def portal_statement_ledger(self, statement_id, access_token=None, **kw):
        try:
            statement_sudo = self._statement_check_access(statement_id, access_token)
        except (AccessError, MissingError):
            return request.redirect("/my")
        values = {"ledger": None, "problems": [], "error": None}
        if request.env.user._is_internal() or statement_sudo.state == "superseded":
            return request.redirect(self._get_statement_url_maker(statement_sudo, access_token)())
        if request.httprequest.method == "POST":
            values.update(self._take_ledger(statement_sudo))
        values.update(
            {
                "texts": self._get_ledger_texts(statement_sudo, values["ledger"], len(values["problems"])),
                "shown_problems": SHOWN_PROBLEMS,
                "page_name": "statement_ledger",
                "statement": statement_sudo,
                "res_company": statement_sudo.company_id,
                "url": self._get_statement_url_maker(statement_sudo, access_token),
            }
        )
        return request.render("customer_billing_statement.portal_statement_ledger", values)

    def _get_ledger_texts(self, statement, ledger, problem_count):
        """Sentences with names and numbers: {name: text}."""
        env = request.env
        if not ledger:
            text = env._(
                "Send the account that you keep of us, for %(first)s – %(last)s, as your accounting "
                "program exports it. We compare it line by line with statement %(statement)s.",
                first=format_date(env, statement.date_from),
                last=format_date(env, statement.date_to),
                statement=statement.name,
            )
            return {"intro": text}
        return {
            "read": env._(
                "We have read %(count)s entries of %(file)s and compare them with statement "
                "%(statement)s. We write to you about what differs.",
                count=ledger.row_count,
                file=ledger.file_name,
                statement=statement.name,
            ),
            "problems": env._(
                "We have received %s, but could not read all of it. You can correct the file and send "
                "it again, or leave it to us: we look at it.",
                ledger.file_name,
            ),
            "more": env._("and %s more", problem_count - SHOWN_PROBLEMS),
        }

    def _take_ledger(self, statement):
        """Take the uploaded ledger: a dict with ``ledger`` and ``problems``, or ``error``."""
        uploads = self._get_uploads("ledger", 1, MAX_LEDGER_BYTES)
        if not uploads or not uploads[0][1]:
            return {"error": request.env._("Choose a file that is not empty.")}
        [(name, content)] = uploads
        if len(content) > MAX_LEDGER_BYTES:
            size = MAX_LEDGER_BYTES // MEGABYTE
            return {"error": request.env._("%(name)s is larger than %(size)s MB.", name=name, size=size)}
        try:
            with request.env.cr.savepoint():
                ledger_sudo = request.env["billing.statement.match"]._create_from_portal(
                    statement, name, content
                )
        except UserError as error:
            return {"error": str(error)}
        problems = ledger_sudo._get_problems() if ledger_sudo.state != "matched" else []
        return {"ledger": ledger_sudo, "problems": problems}

    def _get_uploads(self, field, count, size=MAX_FILE_BYTES):
        """The uploaded files of a field: list of (name, bytes). One file and one byte more than
        allowed are read, so that the limits are seen."""
        files = [file for file in request.httprequest.files.getlist(field) if file.filename]
        return [(file.filename, file.read(size + 1)) for file in files[: count + 1]]

    def _answer_form(self, values):
        """The answer to a form that a script sent, so that nothing typed is lost; None when the
        browser sent it."""
        if request.httprequest.accept_mimetypes.best == "application/json":
            return request.make_json_response(values)
        return None

    def _to_int(self, text):
        return int(text) if str(text).isascii() and str(text).isdigit() and len(str(text)) < 7 else 1
