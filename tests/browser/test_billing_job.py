"""The main job by hand: staff write a contract and bill it with buttons; the customer opens the bill."""

import datetime
import re

import pytest
from playwright.sync_api import expect

import live

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def choose(page, field, text):
    """Type into a many2one field of the form and take the suggestion."""
    box = page.locator(f".o_field_widget[name={field}] input").last
    box.click()
    box.fill(text)
    page.locator(".o-autocomplete--dropdown-item", has_text=text).first.click()


def press(page, button, state):
    page.locator(f".o_statusbar_buttons button[name={button}]:visible").first.click()
    expect(page.locator(f".o_statusbar_status .o_arrow_button_current[data-value={state}]")).to_be_attached()


def number_of(page):
    return page.locator(".o_field_widget[name=name] span, div[name=name] span").first.inner_text()


def test_staff_bill_a_contract_and_the_customer_opens_the_bill(open_page, company):
    page = open_page("test-officer")
    page.goto("/odoo/action-customer_billing.billing_contract_action")
    page.locator(".o_list_button_add:visible, .o-kanban-button-new:visible").first.click()
    choose(page, "partner_id", "Alpha Trading Ltd")
    choose(page, "plan_id", "Test monthly in advance")
    page.get_by_role("button", name="Add an item").or_(page.get_by_text("Add an item")).first.click()
    row = page.locator(".o_field_widget[name=line_ids] tr.o_selected_row")
    row.locator("[name=product_id] input").fill("Test hosting")
    page.locator(".o-autocomplete--dropdown-item", has_text="Test hosting").first.click()
    row.locator("[name=quantity] input").fill("3")
    row.locator("[name=price_unit] input").fill("40")
    page.locator(".o_form_button_save").click()
    expect(page.locator(".o_form_saved")).to_be_attached()
    press(page, "action_activate", "active")
    contract = number_of(page)

    page.goto("/odoo/action-customer_billing.billing_run_action")
    page.locator(".o_list_button_add:visible, .o-kanban-button-new:visible").first.click()
    customers = page.locator(".o_field_widget[name=partner_ids] input")
    customers.fill("Alpha Trading Ltd")
    page.locator(".o-autocomplete--dropdown-item", has_text="Alpha Trading Ltd").first.click()
    press(page, "action_propose", "proposed")
    row = page.locator(".o_field_widget[name=line_ids] tr.o_data_row", has_text=contract)
    expect(row).to_contain_text("120.00")
    for button, state in (
        ("action_generate", "generated"),
        ("action_approve", "approved"),
        ("action_post", "posted"),
        ("action_send", "sent"),
    ):
        press(page, button, state)
    [mail] = live.mails_to("alpha@customer.example.com")
    assert live.attachments(mail)

    # the customer, on a phone
    portal = open_page("test-alpha", **PHONE)
    portal.goto("/my/invoices")
    portal.locator("tbody a[href*='/my/invoices/']:visible", has_text="INV/").first.click()
    expect(portal.locator("body")).to_contain_text("Test hosting")
    expect(portal.locator("body")).to_contain_text("132.00")
    width = portal.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 1, "the page scrolls sideways on a phone"
    address = portal.url
    portal.goto("/my/contracts")
    expect(portal.locator("body")).to_contain_text(contract)

    # another customer opens the same address
    other = open_page("test-beta")
    other.goto(re.sub(r"\?.*", "", address))
    expect(other.locator("body")).not_to_contain_text("132.00")
    other.goto("/my/contracts")
    expect(other.locator("body")).not_to_contain_text(contract)


def test_staff_send_a_statement_and_the_customer_confirms_it(open_page, company):
    session = live.rpc("test-officer")
    contract = company.make_contract(session, "alpha", "2026-01-01")
    today = datetime.date.today()
    runs = session.env["billing.run"]
    run = runs.create({"date": "2026-01-31", "invoice_date": f"{today}", "contract_ids": [(6, 0, [contract])]})
    for step in ("action_propose", "action_generate", "action_approve", "action_post"):
        getattr(runs, step)([run])
    [move] = session.execute("billing.run", "read", [run], ["move_ids"])[0]["move_ids"]
    [bill] = session.execute("account.move", "read", [move], ["name", "currency_id"])
    statement = session.env["billing.statement"].create(
        {
            "partner_id": company.customers["alpha"],
            "currency_id": bill["currency_id"][0],
            "date_from": f"{today - datetime.timedelta(days=2)}",
            "date_to": f"{today}",
        }
    )
    page = open_page("test-officer")
    page.goto(f"/odoo/billing.statement/{statement}")
    press(page, "action_check", "checked")
    press(page, "action_send", "sent")
    expect(page.locator(".o_field_widget[name=line_ids]")).to_contain_text(bill["name"])

    # the customer, on a phone
    portal = open_page("test-alpha", **PHONE)
    portal.goto("/my/statements")
    portal.locator(f"a[href*='/my/statements/{statement}']").first.click()
    expect(portal.locator("body")).to_contain_text(bill["name"])
    width = portal.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 1, "the page scrolls sideways on a phone"
    portal.get_by_role("button", name="Confirm").first.click()
    portal.locator(".modal.show input[name=signer]").fill("Ada of Alpha")
    portal.locator(".modal.show .o_web_sign_auto_button").click()
    portal.get_by_role("button", name="Confirm & sign").click()
    expect(portal.locator("body")).to_contain_text("Your confirmation was recorded")
    [told] = session.execute("billing.statement", "read", [statement], ["state", "confirm_name"])
    assert (told["state"], told["confirm_name"]) == ("confirmed", "Ada of Alpha")

    # another customer opens the same address
    other = open_page("test-beta")
    other.goto(f"/my/statements/{statement}")
    expect(other.locator("body")).not_to_contain_text(bill["name"])


def fits(page):
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width <= 1


def test_the_customer_pays_two_bills_on_a_phone(open_page, company):
    session = live.rpc("test-officer")
    today = datetime.date.today()
    contracts = [company.make_contract(session, "beta", f"{today}") for _number in range(3)]
    runs = session.env["billing.run"]
    run = runs.create({"date": f"{today}", "invoice_date": f"{today}", "contract_ids": [(6, 0, contracts)]})
    for step in ("action_propose", "action_generate", "action_approve", "action_post"):
        getattr(runs, step)([run])
    [told] = session.execute("billing.run", "read", [run], ["move_ids"])
    *chosen, left = [bill["name"] for bill in session.execute("account.move", "read", told["move_ids"], ["name"])]

    portal = open_page("test-beta", **PHONE)
    portal.goto("/my")
    expect(portal.locator(".o_billing_card")).to_contain_text("751.50")
    assert fits(portal)
    portal.locator("a[href='/my/billing/pay']:visible").click()
    total = portal.locator(".o_billing_total")
    expect(total).to_contain_text("751.50")
    portal.locator("label.list-group-item", has_text=left).click()
    expect(total).to_contain_text("501.00")
    assert fits(portal)
    portal.get_by_role("button", name="Continue").click()
    expect(portal.locator("body")).not_to_contain_text(left)
    assert fits(portal)
    portal.locator("input[name=customer_input]:visible").fill("4242 4242 4242 4242")
    portal.locator("button[name=o_payment_submit_button]:visible").click()
    portal.wait_for_url("**/my/billing/receipt/**")
    for text in (*chosen, "501.00", "250.50", "Receipt"):
        expect(portal.locator("main")).to_contain_text(text)
    assert fits(portal)
    found = session.execute("account.move", "read", told["move_ids"], ["amount_residual"])
    assert [bill["amount_residual"] for bill in found] == [0.0, 0.0, 250.5]

    # the same pages in Chinese
    chinese = open_page("test-beta", locale="zh-CN", **PHONE)
    for address, text in ((portal.url, "收据"), ("/my/billing/pay", "继续")):
        chinese.goto(address)
        expect(chinese.locator("main")).to_contain_text(text)
        assert fits(chinese)


def test_the_customer_asks_for_a_change_and_the_officer_approves_it(open_page, company):
    plan = company.admin.env["billing.plan"].create({"name": "Test changes by request", "self_quantity": "request"})
    session = live.rpc("test-officer")
    contracts = session.env["billing.contract"]
    line = {"product_id": company.taxed, "name": "Hosting", "quantity": 2, "price_unit": 100.0}
    contract = contracts.create(
        {
            "partner_id": company.customers["alpha"],
            "plan_id": plan,
            "date_start": f"{datetime.date.today()}",
            "line_ids": [(0, 0, line)],
        }
    )
    contracts.browse(contract).action_activate()

    portal = open_page("test-alpha", **PHONE)
    portal.goto(f"/my/contracts/{contract}")
    portal.get_by_role("link", name="Change the quantity").click()
    portal.locator("#quantity").fill("5")
    assert fits(portal)
    portal.get_by_role("button", name="See what it costs").click()
    expect(portal.locator("main")).to_contain_text("With this change")
    assert fits(portal)
    portal.get_by_role("button", name="Send the request").click()
    portal.wait_for_url("**/my/requests/**")
    expect(portal.get_by_role("button", name="Withdraw the request")).to_be_visible()
    assert fits(portal)

    def quantities():
        found = session.env["billing.contract.line"].search_read([("contract_id", "=", contract)], ["quantity"])
        return [line["quantity"] for line in found]

    assert quantities() == [2], "nothing is changed before it is approved"

    page = open_page("test-officer")
    page.goto(f"/odoo/billing.request/{re.search(r'/my/requests/([0-9]+)', portal.url)[1]}")
    press(page, "action_approve", "applied")
    assert 5 in quantities()
    portal.reload()
    expect(portal.get_by_role("button", name="Withdraw the request")).to_have_count(0)


@pytest.mark.parametrize(
    "action",
    [
        "billing_contract_action",
        "billing_contract_line_action",
        "billing_run_action",
        "billing_charge_action",
        "billing_dispute_action",
        "billing_plan_action",
        "billing_price_action",
        "billing_usage_action",
        "billing_meter_action",
        "billing_exception_action",
        "billing_check_action",
        "billing_cause_action",
        "account_move_action_bills",
        "billing_price_revision_action",
        "customer_billing_statement.billing_statement_action",
        "customer_billing_statement.billing_statement_run_action",
        "customer_billing_statement.billing_statement_line_action",
        "customer_billing_statement.billing_statement_match_action",
        "customer_billing_collection.billing_case_action",
        "customer_billing_collection.billing_dunning_notice_action",
        "customer_billing_collection.billing_dunning_policy_action",
        "customer_billing_collection.billing_promise_action",
        "customer_billing_collection.billing_instalment_action",
        "customer_billing_collection.billing_interest_action",
        "customer_billing_collection.billing_writeoff_action",
        "customer_billing_collection.billing_collection_payment_action",
        "customer_billing_collection.billing_collection_figure_action",
        "customer_billing_collection.billing_collection_move_action",
    ],
)
def test_every_view_of_the_menus_opens(open_page, action):
    """Each list, kanban, calendar, pivot … loads without a script error."""
    page = open_page("test-manager")
    page.goto(f"/odoo/action-{action if '.' in action else f'customer_billing.{action}'}")
    expect(page.locator(".o_view_controller")).to_be_visible()
    kinds = page.locator(".o_cp_switch_buttons .o_switch_view")
    for number in range(kinds.count()):
        kinds.nth(number).click()
        expect(page.locator(".o_view_controller")).to_be_visible()
        expect(page.locator(".o_error_dialog")).to_have_count(0)
