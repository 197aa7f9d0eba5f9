from . import billing_case, billing_dispute, billing_statement
