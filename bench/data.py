"""What is billed in the measurements: contracts of three lines with one tax each."""

from odoo import Command

TAX = {"name": "Bench tax 15 %", "amount": 15.0, "type_tax_use": "sale", "amount_type": "percent"}
DATE = "2026-01-01"
LINES = 3


def make_masters(env):
    """One tax, three products and a monthly plan; customers get invoices by themselves."""
    company = env.company
    company.billing_approval = False
    tax = env["account.tax"].create({**TAX, "company_id": company.id})
    products = env["product.product"].create(
        [
            {
                "name": f"Bench service {number}",
                "type": "service",
                "list_price": 10.0 * number,
                "taxes_id": [Command.set(tax.ids)],
            }
            for number in range(1, LINES + 1)
        ]
    )
    return tax, products, env["billing.plan"].create({"name": "Bench monthly"})


def make_partners(env, count, prefix="Bench"):
    return env["res.partner"].create(
        [
            {"name": f"{prefix} {number}", "email": f"{number}@customer.example"}
            for number in range(count)
        ]
    )


def make_contracts(env, plan, products, partners, batch=1000):
    """One active contract for each partner."""
    contracts = env["billing.contract"]
    for start in range(0, len(partners), batch):
        made = contracts.create(
            [
                {
                    "partner_id": partner.id,
                    "plan_id": plan.id,
                    "date_start": DATE,
                    "line_ids": [
                        Command.create(
                            {"product_id": product.id, "quantity": 1 + index}
                        )
                        for index, product in enumerate(products)
                    ],
                }
                for partner in partners[start : start + batch]
            ]
        )
        made.action_activate()
        contracts |= made
        env.flush_all()
    return contracts
