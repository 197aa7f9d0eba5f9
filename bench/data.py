"""What is billed in the measurements: contracts of three lines with one tax each."""

import os

import odoo.cli  # noqa: F401 - it prepares the import of all else
from odoo import Command

TAX = {"amount": 15.0, "type_tax_use": "sale", "amount_type": "percent"}
DATE = "2026-01-01"
LINES = 3


def make_masters(env):
    """One tax and three products."""
    company = env.company
    tax = env["account.tax"].create({**TAX, "name": f"Bench tax {os.getpid()}", "company_id": company.id})
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
    return tax, products


def make_partners(env, count, prefix="Bench"):
    return env["res.partner"].create(
        [
            {"name": f"{prefix} {number}", "email": f"{number}@customer.example"}
            for number in range(count)
        ]
    )


def make_contracts(env, plan, products, partners, start=DATE, batch=1000):
    """One active contract for each partner, from ``start`` on."""
    env.company.billing_approval = False
    contracts = env["billing.contract"]
    for first in range(0, len(partners), batch):
        made = contracts.create(
            [
                {
                    "partner_id": partner.id,
                    "plan_id": plan.id,
                    "date_start": start,
                    "line_ids": [
                        Command.create(
                            {"product_id": product.id, "quantity": 1 + index}
                        )
                        for index, product in enumerate(products)
                    ],
                }
                for partner in partners[first : first + batch]
            ]
        )
        made.action_activate()
        contracts |= made
        env.flush_all()
    return contracts
