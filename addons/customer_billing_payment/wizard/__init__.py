from . import billing_credit_refund, billing_health
