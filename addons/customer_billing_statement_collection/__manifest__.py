{
    "name": "Customer Billing Statements and Collections",
    "summary": "Statements in hand-over packages; disputes of statement lines stop dunning",
    "version": "19.0.1.0.0",
    "category": "Accounting/Accounting",
    "author": "Customer Billing contributors",
    "website": "https://github.com/customer-billing/customer-billing",
    "license": "LGPL-3",
    "depends": ["customer_billing_statement", "customer_billing_collection"],
    "auto_install": True,
}
