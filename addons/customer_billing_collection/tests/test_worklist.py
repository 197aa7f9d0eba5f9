from lxml import etree

from odoo.tests import tagged

from .facts_common import FactsCommon


@tagged("post_install", "-at_install")
class TestWorklist(FactsCommon):
    """Opening the worklist costs the same, however many cases there are."""

    def new_cases(self, count):
        partners = self.env["res.partner"].create(
            [{"name": f"Debtor {number}", "phone": f"555 {number}"} for number in range(count)]
        )
        for number, partner in enumerate(partners):
            case = self.new_case(partner, amount_overdue=10.0, amount_overdue_company=10.0, next_action_date=self.today)
            case.activity_schedule("mail.mail_activity_data_call", self.day(number - 1), user_id=self.collector.id)
        return [("partner_id", "in", partners.ids), ("state", "not in", ("closed", "written_off"))]

    def get_specification(self, kind):
        """What the web client reads for a view."""
        cases = self.env["billing.case"].with_user(self.collector)
        fields = cases.fields_get()
        view = self.quick_ref(f"customer_billing_collection.billing_case_view_{kind}")
        arch = etree.fromstring(cases.get_view(view.id)["arch"])
        return {
            node.get("name"): {"fields": {"display_name": {}}} if fields[node.get("name")].get("relation") else {}
            for node in arch.iter("field")
        }

    def open_views(self, domain):
        """Statements of each view, and the columns of the kanban view."""
        cases = self.env["billing.case"].with_user(self.collector)
        colors = {"planned": "success", "today": "warning", "overdue": "danger"}
        bar = {"field": "activity_state", "colors": colors}
        specs = {kind: self.get_specification(kind) for kind in ("list", "kanban", "calendar")}
        columns = {}
        calls = {
            "list": lambda: cases.web_search_read(domain, specs["list"], limit=80),
            "kanban": lambda: columns.update(
                cases.web_read_group(
                    domain, ["state"], ["amount_overdue_company:sum"], auto_unfold=True,
                    unfold_read_specification=specs["kanban"], unfold_read_default_limit=40,
                )
            ),
            "bar": lambda: columns.update(bar=cases.read_progress_bar(domain, "state", bar)),
            "calendar": lambda: cases.search_read(domain, list(specs["calendar"])),
            "activity": lambda: self.env["mail.activity"].with_user(self.collector).get_activity_data(
                "billing.case", domain, 100, 0, True
            ),
            "next": lambda: cases.action_call_next(),
        }  # fmt: skip
        counts = {}
        for name, call in calls.items():
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            call()
            counts[name] = self.env.cr.sql_log_count - before
        return counts, columns

    def test_invariant_10_queries_of_the_worklist_do_not_grow_with_cases(self):
        few, many = self.new_cases(3), self.new_cases(9)
        self.open_views(few)  # caches
        counts, _columns = self.open_views(few)
        more, columns = self.open_views(many)
        self.assertEqual(more, counts)
        [column] = [group for group in columns["groups"] if group["__records"]]
        self.assertEqual((column["state"], column["amount_overdue_company:sum"], column["__count"]), ("open", 90.0, 9))
        self.assertEqual(columns["bar"]["open"], {"planned": 7, "today": 1, "overdue": 1})
