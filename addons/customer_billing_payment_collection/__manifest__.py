{
    "name": "Customer Billing Payments and Collections",
    "summary": "Bills that are charged automatically are not dunned; those whose charge failed are",
    "version": "19.0.1.1.0",
    "category": "Accounting/Accounting",
    "author": "Customer Billing contributors",
    "website": "https://github.com/customer-billing/customer-billing",
    "license": "LGPL-3",
    "depends": ["customer_billing_payment", "customer_billing_collection"],
    "data": ["views/dunning_items.xml", "views/res_config_settings_views.xml"],
    "auto_install": True,
}
