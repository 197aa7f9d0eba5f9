from . import billing_credit_refund
