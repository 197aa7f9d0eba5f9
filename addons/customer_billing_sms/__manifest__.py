{
    "name": "Customer Billing SMS",
    "summary": "Bills and reminders by SMS",
    "version": "19.0.1.0.0",
    "category": "Accounting/Accounting",
    "author": "Customer Billing contributors",
    "website": "https://github.com/customer-billing/customer-billing",
    "license": "LGPL-3",
    "depends": ["customer_billing_collection", "sms"],
    "data": [
        "data/sms_template_data.xml",
        "views/billing_dunning_step_views.xml",
    ],
    "auto_install": True,
}
