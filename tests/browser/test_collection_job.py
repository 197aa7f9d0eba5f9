"""A collector's day by hand: the worklist, the most important customer on the phone, a promise, the next customer."""

import datetime
import time

import odoorpc
from playwright.sync_api import expect

import live


def run_job(company, name):
    """Let a scheduled job run now, as an administrator does."""
    [found] = company.admin.env["ir.model.data"].search_read(
        [("module", "=", "customer_billing_collection"), ("name", "=", name)], ["res_id"]
    )
    for seconds_left in reversed(range(60)):
        try:
            company.admin.env["ir.cron"].method_direct_trigger([found["res_id"]])
            return
        except odoorpc.error.RPCError as error:
            if "already executing" not in str(error) or not seconds_left:
                raise
            time.sleep(1)


def make_overdue(company, amounts):
    """Overdue bills of these amounts by customer, all of whom the collector is to call today."""
    manager, officer = live.rpc("test-manager"), live.rpc("test-officer")
    policy = manager.env["billing.dunning.policy"].create(
        {
            "name": "Test phone",
            "calendar_id": False,
            "step_ids": [(0, 0, {"name": "Phone call", "days": 3, "channel": "call"})],
        }
    )
    day = f"{datetime.date.today() - datetime.timedelta(days=20)}"
    for name, amount in amounts.items():
        company.admin.env["res.partner"].write(
            [company.customers[name]],
            {"billing_dunning_policy_id": policy, "billing_collector_id": company.users["collector"]},
        )
        moves = officer.env["account.move"]
        move = moves.create(
            {
                "move_type": "out_invoice",
                "partner_id": company.customers[name],
                "invoice_date": day,
                "invoice_date_due": day,
                "invoice_payment_term_id": False,
                "invoice_line_ids": [(0, 0, {"name": "Hosting", "price_unit": amount, "tax_ids": [(6, 0, [])]})],
            }
        )
        moves.action_post([move])
    run_job(company, "ir_cron_nightly")
    run_job(company, "ir_cron_send")


def test_a_collector_works_through_the_worklist(open_page, company):
    make_overdue(company, {"alpha": 9000.0, "beta": 400.0})
    page = open_page("test-collector")
    page.goto("/odoo/action-customer_billing_collection.billing_case_action_mine")
    rows = page.locator("tr.o_data_row")
    expect(rows.nth(0)).to_contain_text("Alpha Trading Ltd")
    expect(rows.nth(1)).to_contain_text("Beta Trading Ltd")
    page.get_by_role("button", name="Call Next").click()

    customer = page.locator(".o_field_widget[name=partner_id]").first
    expect(customer).to_contain_text("Alpha Trading Ltd")
    expect(page.locator(".o_field_widget[name=items_html]")).to_contain_text("9,000.00")
    page.locator(".o_statusbar_buttons button[name=action_open_call]").click()
    dialog = page.locator(".modal-dialog")
    dialog.locator(".o_field_widget[name=outcome]").get_by_text("Promised to pay", exact=True).click()
    expect(dialog.locator(".o_field_widget[name=promise_amount] input")).to_have_value("9,000.00")
    dialog.locator("button[name=action_done_next]").click()
    expect(customer).to_contain_text("Beta Trading Ltd")

    collector = live.rpc("test-collector")
    cases = collector.env["billing.case"].search_read(
        [("partner_id", "=", company.customers["alpha"]), ("state", "!=", "closed")], ["state", "promise_ids"]
    )
    assert [case["state"] for case in cases] == ["promised"]
    [promise] = collector.execute("billing.promise", "read", cases[0]["promise_ids"], ["amount", "state"])
    assert (promise["amount"], promise["state"]) == (9000.0, "open")

    page.goto("/odoo/action-customer_billing_collection.billing_case_action_mine")
    expect(rows.nth(0)).to_contain_text("Beta Trading Ltd")
    expect(page.locator(".o_list_renderer")).not_to_contain_text("Alpha Trading Ltd")
